// A registry that answers anything: the parts of the input are its answers, sent as they are, one
// to each request. The first part's first byte says what is wanted of it, the second whether the
// answers are to hold a blob as its digest has it.
#include <memory>
#include <string>

#include "base/check.h"
#include "base/clock.h"
#include "base/digest.h"
#include "base/log.h"
#include "http/client.h"
#include "http/testing/fake_server.h"
#include "oci/media_type.h"
#include "parts.h"
#include "registry/registry.h"
#include "registry/testing/fake_credentials.h"
#include "registry/testing/memory_sink.h"

namespace {

using namespace kiln;  // NOLINT: one file, one purpose
using namespace kiln::registry;

// Answers with what the input says, as long as there is something; then hangs up.
class Liar {
 public:
  Liar() : server_([this](const http::ReceivedRequest&) { return Next(); }) {}

  std::string host() const { return server_.host(); }
  void Begin(const Parts& parts) {
    std::lock_guard lock(mutex_);
    replies_.clear();
    for (size_t i = 1; i < parts.size(); ++i) {
      // A header's end is easier to find for a fuzzer, and to write, than four bytes of it.
      std::string reply(parts[i]);
      for (size_t at = 0; (at = reply.find("$HOST", at)) != reply.npos;)
        reply.replace(at, 5, server_.host());
      replies_.push_back(std::move(reply));
    }
    next_ = 0;
    server_.Forget();
  }

 private:
  http::Reply Next() {
    std::lock_guard lock(mutex_);
    http::Reply reply;
    reply.hang_up = next_ == replies_.size();
    if (!reply.hang_up) reply.raw = replies_[next_++];
    return reply;
  }

  std::mutex mutex_;
  std::vector<std::string> replies_;
  size_t next_ = 0;
  http::FakeServer server_;
};

struct World {
  World() {
    credentials.by_session["s"] = {"user", SecretString("secret")};
    options.hosts[liar->host()].plain_http = true;
    options.retry.first_delay = std::chrono::milliseconds(0);
    options.retry.max_delay = std::chrono::milliseconds(0);
  }
  // Never ended: at exit, threads of others may be gone before.
  Liar* const liar = new Liar;
  http::Library library;
  http::Client client{library, {}};
  SystemClock clock;
  FakeCredentials credentials;
  RegistryOptions options;
};

constexpr char kBlob[] = "blob\n";

}  // namespace

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  SetLogLevel(LogLevel::kError);
  return 0;
}

// Where libFuzzer looks for leaks, threads of the fake server are in the middle of something. The
// unit tests of http and registry look for leaks at their end.
extern "C" int __lsan_is_turned_off() { return 1; }  // NOLINT(bugprone-reserved-identifier)

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size > 20'000) return 0;
  static World& world = *new World;
  const Parts parts(data, size);
  if (parts[0].empty() || parts.size() > 12) return 0;
  world.liar->Begin(parts);
  // Tokens and schemes are learnt anew each time.
  Registry registry(world.client, world.clock, &world.credentials, world.options);
  const auto reference = oci::Reference::ParseNormalized(world.liar->host() + "/a/b:c");
  CHECK(reference.ok());
  const Repository repository = registry.Open(*reference);
  progress::Activity activity = progress::Activity().WithTimeout(std::chrono::seconds(5));
  activity.sessions = std::make_shared<progress::FixedSessions>(std::vector<std::string>{"s"});
  oci::Descriptor descriptor;
  descriptor.media_type = oci::kOciManifest;
  descriptor.digest = Sha256Of(kBlob);
  descriptor.size = sizeof kBlob - 1;
  if (parts[0].size() > 1) {
    const std::string_view answer = parts[parts.size() - 1];
    const size_t body = answer.find("\r\n\r\n");
    if (body != answer.npos) descriptor.digest = Sha256Of(answer.substr(body + 4));
    if (body != answer.npos) descriptor.size = static_cast<int64_t>(answer.size() - body - 4);
  }
  switch (parts[0][0]) {
    case 'r':
      if (const auto found = repository.Resolve(activity, "c"); found.ok())
        (void)repository.FetchManifest(activity, found->descriptor);
      break;
    case 'd':
      (void)repository.Resolve(activity, descriptor.digest.ToString());
      break;
    case 'm':
      (void)repository.FetchManifest(activity, descriptor);
      break;
    case 's':
      (void)repository.FetchSmallBlob(activity, descriptor, 1000);
      break;
    case 'u':
      descriptor.urls = {"http://" + world.liar->host() + "/elsewhere"};
      [[fallthrough]];
    case 'b': {
      MemorySink sink;
      if (repository.FetchBlob(activity, descriptor, sink).ok())
        CHECK(Sha256Of(sink.content) == descriptor.digest);
      break;
    }
    case 't':
      (void)repository.StatBlob(activity, descriptor.digest);
      break;
    case 'f':
      (void)repository.Referrers(activity, descriptor.digest);
      break;
    case 'p': {
      http::StringSource body(kBlob);
      (void)repository.PushBlob(activity, descriptor, body, {"a/other"});
      break;
    }
    case 'q':
      (void)repository.PushManifest(activity, descriptor, kBlob, "c");
      break;
    default:
      break;
  }
  return 0;
}
