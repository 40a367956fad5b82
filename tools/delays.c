// Preloaded into a program, it lets a thread sleep now and then before it takes a lock or behind its giving one back,
// so that threads meet in orders that a quiet machine hardly ever shows. tools/delays runs the unit tests with it.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

static unsigned one_in(void) {
  static unsigned value;
  if (value == 0) {
    const char* text = getenv("DELAYS_ONE_IN");
    value = text != NULL && atoi(text) > 0 ? (unsigned)atoi(text) : 50;
  }
  return value;
}

static void maybe_sleep(void) {
  static __thread unsigned state;
  struct timespec t;
  if (state == 0) {
    clock_gettime(CLOCK_MONOTONIC, &t);
    state = ((unsigned)t.tv_nsec ^ (unsigned)(size_t)&state) | 1;
  }
  state = state * 1664525U + 1013904223U;
  if ((state >> 16) % one_in() != 0) return;
  t.tv_sec = 0;
  t.tv_nsec = (long)((state >> 8) % 8000) * 1000;
  nanosleep(&t, NULL);
}

int pthread_mutex_lock(pthread_mutex_t* mutex) {
  static int (*real)(pthread_mutex_t*);
  if (real == NULL) real = (int (*)(pthread_mutex_t*))dlsym(RTLD_NEXT, "pthread_mutex_lock");
  maybe_sleep();
  return real(mutex);
}

int pthread_mutex_unlock(pthread_mutex_t* mutex) {
  static int (*real)(pthread_mutex_t*);
  if (real == NULL) real = (int (*)(pthread_mutex_t*))dlsym(RTLD_NEXT, "pthread_mutex_unlock");
  const int result = real(mutex);
  maybe_sleep();
  return result;
}
