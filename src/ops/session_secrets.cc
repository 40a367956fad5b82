#include "ops/step_secrets.h"
#include "session/manager.h"
#include "session/secrets.h"

namespace kiln::ops {
namespace {

class SessionSecrets final : public StepSecrets {
 public:
  explicit SessionSecrets(session::Manager& manager) : manager_(manager) {}

  Result<SecretString> GetSecret(const progress::Activity& activity,
                                 const std::string& id) override {
    return session::GetSecret(manager_, activity, id);
  }

  Status CheckSshAgent(const progress::Activity& activity, const std::string& id) override {
    TRY(session::FindSshAgent(manager_, activity, id));
    return OkStatus();
  }

  Status ForwardSshAgent(const progress::Activity& activity, const std::string& id,
                         Fd connection) override {
    TRY_ASSIGN(session::SessionPtr session, session::FindSshAgent(manager_, activity, id));
    return session::ForwardSshAgent(activity, *session, id, std::move(connection));
  }

 private:
  session::Manager& manager_;
};

}  // namespace

std::unique_ptr<StepSecrets> MakeSessionSecrets(session::Manager& manager) {
  return std::make_unique<SessionSecrets>(manager);
}

}  // namespace kiln::ops
