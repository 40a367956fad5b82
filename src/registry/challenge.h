#pragma once

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "http/message.h"

namespace kiln::registry {

// One challenge of a WWW-Authenticate header (RFC 9110, 11.6.1).
struct Challenge {
  std::string scheme;                             // lower case
  std::map<std::string, std::string> parameters;  // names in lower case

  std::string Get(const std::string& name) const {
    const auto it = parameters.find(name);
    return it == parameters.end() ? std::string() : it->second;
  }
};

// All challenges of a response, best first: bearer, then basic. Other schemes and malformed parts
// are left out.
std::vector<Challenge> ParseChallenges(const http::Headers& headers);

// Token scopes: "repository:<path>" with actions.
class ScopeSet {
 public:
  void Add(std::string_view resource, std::string_view action);
  // "repository:a/b:pull,push", several with spaces between. What is not of that form is kept
  // whole.
  void AddText(std::string_view scopes);
  void AddAll(const ScopeSet& other);

  bool empty() const { return actions_.empty(); }
  // Sorted.
  std::vector<std::string> List() const;
  std::string ToString() const;

 private:
  std::map<std::string, std::set<std::string>> actions_;
};

}  // namespace kiln::registry
