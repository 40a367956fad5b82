#include "session/auth.h"

#include <moby/filesync/v1/auth.grpc.pb.h>

#include "session/client_words.h"
#include "session/connection.h"

namespace kiln::session {
namespace {

using moby::filesync::v1::Auth;

}  // namespace

Result<ClientCredentials> GetCredentials(const progress::Activity& activity, Session& session,
                                         const std::string& host) {
  Call call(activity, session);
  moby::filesync::v1::CredentialsRequest request;
  moby::filesync::v1::CredentialsResponse response;
  request.set_host(host);
  TRY(call.End(
      Auth::NewStub(session.connection().channel)->Credentials(call.get(), request, &response)));
  return ClientCredentials{response.username(),
                           SecretString(std::move(*response.mutable_secret()))};
}

Result<ClientToken> FetchToken(const progress::Activity& activity, Session& session,
                               const ClientTokenRequest& wanted) {
  Call call(activity, session);
  moby::filesync::v1::FetchTokenRequest request;
  moby::filesync::v1::FetchTokenResponse response;
  request.set_clientid(wanted.client_id);
  request.set_host(wanted.host);
  request.set_realm(wanted.realm);
  request.set_service(wanted.service);
  for (const std::string& scope : wanted.scopes) request.add_scopes(scope);
  TRY(call.End(
      Auth::NewStub(session.connection().channel)->FetchToken(call.get(), request, &response)));
  return TokenOf(response);
}

Result<std::string> GetTokenAuthority(const progress::Activity& activity, Session& session,
                                      const std::string& host, std::string_view salt) {
  Call call(activity, session);
  moby::filesync::v1::GetTokenAuthorityRequest request;
  moby::filesync::v1::GetTokenAuthorityResponse response;
  request.set_host(host);
  request.set_salt(std::string(salt));
  TRY(call.End(Auth::NewStub(session.connection().channel)
                   ->GetTokenAuthority(call.get(), request, &response)));
  return std::move(*response.mutable_publickey());
}

Result<std::string> VerifyTokenAuthority(const progress::Activity& activity, Session& session,
                                         const std::string& host, std::string_view payload,
                                         std::string_view salt) {
  Call call(activity, session);
  moby::filesync::v1::VerifyTokenAuthorityRequest request;
  moby::filesync::v1::VerifyTokenAuthorityResponse response;
  request.set_host(host);
  request.set_payload(std::string(payload));
  request.set_salt(std::string(salt));
  TRY(call.End(Auth::NewStub(session.connection().channel)
                   ->VerifyTokenAuthority(call.get(), request, &response)));
  return std::move(*response.mutable_signed_());
}

}  // namespace kiln::session
