// What a registry says in headers and error answers: challenges, scopes, redirect targets, error
// documents.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "http/url.h"
#include "registry/challenge.h"
#include "registry/errors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  for (const auto& challenge : kiln::registry::ParseChallenges({{"WWW-Authenticate", text}})) {
    kiln::registry::ScopeSet scopes;
    scopes.AddText(challenge.Get("scope"));
    kiln::registry::ScopeSet again;
    again.AddText(scopes.ToString());
    CHECK(again.ToString() == scopes.ToString());
  }
  kiln::http::Response response;
  response.status = 403;
  response.url = text;
  response.body = text;
  (void)kiln::registry::UnexpectedStatus("GET", response);
  if (auto url = kiln::http::ResolveUrl("https://registry.example/v2/a", text); url.ok()) {
    CHECK(kiln::http::Url::Parse(*url).ok());
  }
  return 0;
}
