#include "cmd/cache_commands.h"

#include <algorithm>
#include <cstdio>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "base/strings.h"
#include "client/control_calls.h"
#include "cmd/command.h"
#include "cmd/error_report.h"
#include "cmd/interrupt.h"
#include "cmd/print.h"
#include "cmd/values.h"

namespace kiln::cmd {
namespace {

using client::UsageRecord;

nlohmann::ordered_json JsonOf(const UsageRecord& record) {
  nlohmann::ordered_json json;
  json["id"] = record.id;
  json["type"] = record.type;
  json["description"] = record.description;
  json["parents"] = record.parents;
  json["size"] = record.size_bytes;
  json["mutable"] = record.is_mutable;
  json["inUse"] = record.in_use;
  json["shared"] = record.shared;
  json["createdAt"] = FormatRfc3339(record.created);
  if (record.last_used) json["lastUsedAt"] = FormatRfc3339(*record.last_used);
  json["usageCount"] = record.usage_count;
  return json;
}

std::string LineOf(const nlohmann::ordered_json& json) {
  return json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

std::string Size(uint64_t bytes) { return HumanBytes(static_cast<int64_t>(bytes)); }
std::string YesNo(bool value) { return value ? "true" : "false"; }

// As buildx: "*" marks what can change.
std::vector<std::string> RowOf(const UsageRecord& record, WallTime now) {
  return {record.id + (record.is_mutable ? "*" : ""), YesNo(!record.in_use),
          Size(record.size_bytes) + (record.shared ? "*" : ""),
          record.last_used ? FormatAge(now - *record.last_used) : ""};
}

const std::vector<std::string> kHeading = {"ID", "RECLAIMABLE", "SIZE", "LAST ACCESSED"};

std::string Details(const UsageRecord& record) {
  std::string text;
  auto line = [&](std::string_view key, const std::string& value) {
    if (!value.empty()) text += fmt::format("{:<15}{}\n", fmt::format("{}:", key), value);
  };
  line("ID", record.id);
  line("Parents", Join(record.parents, ", "));
  line("Created at", FormatRfc3339(record.created));
  line("Mutable", YesNo(record.is_mutable));
  line("Reclaimable", YesNo(!record.in_use));
  line("Shared", YesNo(record.shared));
  line("Size", Size(record.size_bytes));
  line("Description", record.description);
  line("Usage count", std::to_string(record.usage_count));
  if (record.last_used) line("Last used", FormatRfc3339(*record.last_used));
  line("Type", record.type);
  return text + "\n";
}

std::string Totals(const std::vector<UsageRecord>& records) {
  uint64_t total = 0;
  uint64_t shared = 0;
  uint64_t free = 0;
  for (const UsageRecord& record : records) {
    total += record.size_bytes;
    if (record.shared) shared += record.size_bytes;
    if (!record.in_use) free += record.size_bytes;
  }
  std::vector<std::vector<std::string>> rows;
  if (shared > 0) {
    rows.push_back({"Shared:", Size(shared)});
    rows.push_back({"Private:", Size(total - shared)});
  }
  rows.push_back({"Reclaimable:", Size(free)});
  rows.push_back({"Total:", Size(total)});
  return FormatTable(rows);
}

Status Du(const DuFlags& flags, const client::Connection& connection,
          const progress::Activity& activity) {
  TRY_ASSIGN(const CacheFilter filter, ParseCacheFilters(flags.filters));
  TRY_ASSIGN(auto records,
             client::DiskUsage(connection, filter.expressions, filter.until, activity));
  std::stable_sort(records.begin(), records.end(), [](const auto& a, const auto& b) {
    return a.size_bytes != b.size_bytes ? a.size_bytes > b.size_bytes : a.id < b.id;
  });
  if (flags.format == "json") {
    for (const UsageRecord& record : records) Print(LineOf(JsonOf(record)));
    return OkStatus();
  }
  const WallTime now = SystemClock().Now();
  std::vector<std::vector<std::string>> rows = {kHeading};
  for (const UsageRecord& record : records) {
    if (flags.verbose) {
      Print(Details(record));
    } else {
      rows.push_back(RowOf(record, now));
    }
  }
  if (!flags.verbose && !records.empty()) Print(FormatTable(rows));
  Print(Totals(records));
  return OkStatus();
}

Result<client::PruneOptions> OptionsOf(const PruneFlags& flags) {
  client::PruneOptions options;
  options.all = flags.all;
  TRY_ASSIGN(CacheFilter filter, ParseCacheFilters(flags.filters));
  options.filters = std::move(filter.expressions);
  options.keep_duration = filter.until;
  if (!flags.keep_duration.empty()) {
    TRY_ASSIGN_CTX(options.keep_duration, ParseDuration(flags.keep_duration), "--keep-duration");
  }
  const auto size = [](const char* flag, const std::string& text, uint64_t& to) -> Status {
    if (text.empty()) return OkStatus();
    TRY_ASSIGN(const int64_t bytes, ParseSize(flag, text));
    to = static_cast<uint64_t>(bytes);
    return OkStatus();
  };
  TRY(size("--reserved-space", flags.reserved_space, options.reserved_bytes));
  TRY(size("--max-used-space", flags.max_used_space, options.max_used_bytes));
  TRY(size("--min-free-space", flags.min_free_space, options.min_free_bytes));
  return options;
}

// Asks unless --force says not to. Without anybody to answer, nothing is removed.
bool Confirmed(const PruneFlags& flags) {
  if (flags.force) return true;
  const InterruptsEndProcess nothing_begun;
  PrintError(flags.all ? "WARNING! This will remove all build cache. Continue? [y/N] "
                       : "WARNING! This will remove all build cache that is not in use. Continue? "
                         "[y/N] ");
  const int first = std::getchar();
  if (first == EOF) PrintError("\nkiln prune: nobody answers; --force removes without asking\n");
  return first == 'y' || first == 'Y';
}

Status Prune(const PruneFlags& flags, const client::Connection& connection,
             const progress::Activity& activity) {
  TRY_ASSIGN(const client::PruneOptions options, OptionsOf(flags));
  const WallTime now = SystemClock().Now();
  uint64_t total = 0;
  bool heading = false;
  // One by one, while they go: the columns are as wide as those of any record.
  const auto show = [&](const UsageRecord& record) {
    total += record.size_bytes;
    if (flags.verbose) {
      Print(Details(record));
      return;
    }
    const auto row = [](const std::vector<std::string>& cells) {
      Print(fmt::format("{:<28} {:<12} {:<12} {}\n", cells[0], cells[1], cells[2], cells[3]));
    };
    if (!std::exchange(heading, true)) row(kHeading);
    row(RowOf(record, now));
  };
  TRY(client::Prune(connection, options, show, activity));
  Print(fmt::format("Total: {}\n", Size(total)));
  return OkStatus();
}

}  // namespace

void AddDuOptions(CLI::App& app, DuFlags& flags) {
  AddEngineOptions(app, flags.engine);
  AddList(app, "--filter", flags.filters,
          "Which records, KEY=VALUE: id, type, description, inuse, mutable, shared, until=24h; all "
          "must match");
  app.add_flag("--verbose", flags.verbose, "Everything about each record");
  app.add_option("--format", flags.format, "table or json (one object a line)")
      ->check(CLI::IsMember({"table", "json"}));
  app.footer(R"(Examples:
  kiln du
  kiln du --verbose --filter type=exec.cachemount

)" + std::string(kExitStatus));
}

void AddPruneOptions(CLI::App& app, PruneFlags& flags) {
  AddEngineOptions(app, flags.engine);
  app.add_flag("-a,--all", flags.all, "Also what is internal: frontends' images and the like");
  AddList(app, "--filter", flags.filters,
          "Which records, as for `kiln du`; until=24h keeps newer ones");
  app.add_option("--reserved-space,--keep-storage", flags.reserved_space,
                 "So much is kept in any case, as 10GB");
  app.add_option("--max-used-space", flags.max_used_space,
                 "Remove until no more than this is used");
  app.add_option("--min-free-space", flags.min_free_space,
                 "Remove until so much of the disk is free");
  app.add_option("--keep-duration", flags.keep_duration,
                 "Keep what was used this long ago, as 48h");
  app.add_flag("-f,--force", flags.force, "Do not ask; needed where nobody can answer");
  app.add_flag("--verbose", flags.verbose, "Everything about each record");
  app.footer(R"(Examples:
  kiln prune --keep-storage 10GB
  kiln prune --force --all --filter until=168h

)" + std::string(kExitStatus));
}

int RunDu(const DuFlags& flags, const EngineChoice& choice, sys::Spawner* spawner) {
  return RunCommand(choice, spawner, [&](const auto& connection, const auto& activity) {
    return Du(flags, connection, activity);
  });
}

int RunPrune(const PruneFlags& flags, const EngineChoice& choice, sys::Spawner* spawner) {
  // What is wrong with the flags is said before anything is asked.
  if (const auto options = OptionsOf(flags); !options.ok()) {
    PrintError(DescribeError(options.error()));
    return 1;
  }
  if (!Confirmed(flags)) return 1;
  return RunCommand(choice, spawner, [&](const auto& connection, const auto& activity) {
    return Prune(flags, connection, activity);
  });
}

}  // namespace kiln::cmd
