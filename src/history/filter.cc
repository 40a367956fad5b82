#include "history/filter.h"

#include <algorithm>
#include <array>
#include <functional>
#include <optional>

#include "api/timestamp.h"
#include "base/filter.h"
#include "base/strings.h"

namespace kiln::history {
namespace {

using Term = std::function<bool(const Record&)>;

using api::TimeOf;

std::optional<std::string> Field(const Record& record, const std::vector<std::string>& path) {
  if (path.size() != 1) return std::nullopt;
  if (path[0] == "ref") return record.ref();
  if (path[0] == "status") return StatusOf(record);
  if (path[0] == "repository") return RepositoryOf(record);
  return std::nullopt;
}

template <typename T>
bool Holds(std::string_view op, T a, T b) {
  if (op == ">=") return a >= b;
  if (op == "<=") return a <= b;
  if (op == ">") return a > b;
  return a < b;
}

// A term on a time or a duration; nullopt if it is about something else.
Result<std::optional<Term>> TimeTerm(std::string_view term, WallTime now) {
  constexpr std::array<std::string_view, 4> kOperators = {">=", "<=", ">", "<"};
  for (const std::string_view field : {"startedAt", "completedAt", "duration"}) {
    if (!term.starts_with(field)) continue;
    const std::string_view rest = term.substr(field.size());
    for (const std::string_view op : kOperators) {
      if (!rest.starts_with(op)) continue;
      const std::string_view value = Trim(rest.substr(op.size()));
      const Result<nanoseconds> span = ParseDuration(value);
      if (field == "duration") {
        if (!span.ok()) return InvalidArgument("bad duration in filter {}", Quoted(term));
        return std::optional<Term>([op, limit = *span, now](const Record& record) {
          const WallTime end = record.has_completedat() ? TimeOf(record.completedat()) : now;
          return Holds(op, end - TimeOf(record.createdat()), limit);
        });
      }
      const Result<WallTime> at = span.ok() ? Result<WallTime>(now - *span) : ParseRfc3339(value);
      if (!at.ok()) return InvalidArgument("bad time in filter {}", Quoted(term));
      const bool start = field == "startedAt";
      return std::optional<Term>([op, limit = *at, start](const Record& record) {
        if (!start && !record.has_completedat()) return false;
        return Holds(op, TimeOf(start ? record.createdat() : record.completedat()), limit);
      });
    }
    return InvalidArgument("bad operator in filter {}", Quoted(term));
  }
  return std::optional<Term>();
}

Result<Term> Expression(const std::string& text, WallTime now) {
  std::vector<Term> terms;
  std::vector<std::string> others;
  for (const std::string_view term : Split(text, ',')) {
    TRY_ASSIGN(auto timed, TimeTerm(Trim(term), now));
    if (timed) {
      terms.push_back(*std::move(timed));
    } else {
      others.emplace_back(Trim(term));
    }
  }
  if (!others.empty()) {
    TRY_ASSIGN(const Filter filter, Filter::Parse({Join(others, ",")}));
    terms.emplace_back([filter](const Record& record) {
      return filter.Matches(
          [&](const std::vector<std::string>& path) { return Field(record, path); });
    });
  }
  return Term([terms](const Record& record) {
    return std::all_of(terms.begin(), terms.end(), [&](const Term& term) { return term(record); });
  });
}

}  // namespace

std::string StatusOf(const Record& record) {
  if (!record.has_completedat()) return "running";
  if (!record.has_error()) return "completed";
  return record.error().message().find("context canceled") != std::string::npos ? "canceled"
                                                                                : "error";
}

std::string RepositoryOf(const Record& record) {
  const auto& attrs = record.frontendattrs();
  if (const auto source = attrs.find("vcs:source"); source != attrs.end()) return source->second;
  const auto context = attrs.find("context");
  if (context == attrs.end()) return "";
  const std::string& url = context->second;
  const std::string remote = url.substr(0, url.find('#'));
  const bool git = remote.starts_with("git://") || remote.starts_with("ssh://") ||
                   remote.starts_with("git@") || remote.ends_with(".git");
  return git ? remote : "";
}

Result<std::vector<Record>> Matching(std::vector<Record> records,
                                     const std::vector<std::string>& expressions, WallTime now) {
  if (expressions.empty()) return records;
  std::vector<Term> alternatives;
  for (const std::string& text : expressions) {
    TRY_ASSIGN(alternatives.emplace_back(), Expression(text, now));
  }
  std::erase_if(records, [&](const Record& record) {
    return std::none_of(alternatives.begin(), alternatives.end(),
                        [&](const Term& term) { return term(record); });
  });
  return records;
}

}  // namespace kiln::history
