#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "base/loop.h"
#include "registry/testing/fake_registry.h"
#include "session/manager.h"
#include "source/blob_sources.h"
#include "source/session_credentials.h"
#include "source/sources.h"
#include "store/store.h"
#include "store/testing/files.h"
#include "sys/testing/test_spawner.h"

namespace kiln::source {

// A store, a registry in memory, sessions, and the sources over them.
class SourceFixture : public testing::Test {
 protected:
  SourceFixture() {
    store::StoreOptions options;
    options.root = temp_ / "root";
    store_ = store::Must(store::Store::Open(options));
    store_->AddBlobSource(std::string(kRegistryLocator), &registry_blobs_);
    store_->AddBlobSource(std::string(kLayoutLocator), &layout_blobs_);
    sources_ =
        std::make_unique<Sources>(Services{.store = *store_,
                                           .registry = registry_,
                                           .sessions = sessions_,
                                           .clock = clock_,
                                           .http = client_,
                                           .spawner = sys::TestSpawner(),
                                           .environment = {"PATH=/usr/local/bin:/usr/bin:/bin"}});
  }

  progress::Activity As(const std::vector<std::string>& sessions) {
    progress::Activity activity;
    activity.sessions = std::make_shared<progress::FixedSessions>(sessions);
    return activity;
  }

  static registry::RegistryOptions FastRetries() {
    registry::RegistryOptions options;
    options.retry.first_delay = std::chrono::milliseconds(0);
    return options;
  }

  sys::TempDir temp_;
  SystemClock clock_;
  registry::FakeRegistry fake_;
  EventLoop loop_{"test"};
  session::Manager sessions_{loop_};
  SessionCredentials credentials_{sessions_};
  http::Library library_;
  http::Client client_{library_, {}};
  registry::Registry registry_{client_, clock_, &credentials_, FastRetries()};
  RegistryBlobs registry_blobs_{registry_};
  LayoutBlobs layout_blobs_{sessions_};
  std::unique_ptr<store::Store> store_;
  std::unique_ptr<Sources> sources_;
};

}  // namespace kiln::source
