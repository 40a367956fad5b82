#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace kiln {

// Splits at every separator; "" gives one empty piece, as Go's strings.Split does.
std::vector<std::string_view> Split(std::string_view text, char separator);
// Splits at the first separator; nullopt when there is none.
std::optional<std::pair<std::string_view, std::string_view>> Cut(std::string_view text,
                                                                 std::string_view separator);
std::string Join(const std::vector<std::string>& parts, std::string_view separator);
// Without leading and trailing ASCII white space.
std::string_view Trim(std::string_view text);
std::string ToLower(std::string_view text);
std::string ToUpper(std::string_view text);
bool EqualsIgnoreCase(std::string_view a, std::string_view b);
std::string ReplaceAll(std::string_view text, std::string_view from, std::string_view to);

// Decimal, whole string, no sign for unsigned; nullopt otherwise.
std::optional<int64_t> ParseInt(std::string_view text);
std::optional<uint64_t> ParseUint(std::string_view text, int base = 10);
// Go's strconv.ParseBool: 1 t T TRUE true True 0 f F FALSE false False.
std::optional<bool> ParseBool(std::string_view text);

// For messages: in double quotes, odd bytes escaped as in Go's %q, cut after `limit` of them.
std::string Quoted(std::string_view text, size_t limit = 512);

std::string HexEncode(std::string_view bytes);
std::string Base64Encode(std::string_view bytes);
// Standard alphabet, padding required as written; nullopt on any other byte.
std::optional<std::string> Base64Decode(std::string_view text);
bool IsValidUtf8(std::string_view text);
// Bytes that are not part of a valid character become U+FFFD, one each: what a protobuf string must
// be.
std::string ToValidUtf8(std::string_view text);

// The name of `names` nearest to `word` (Levenshtein, at most 2 edits and fewer than its length),
// or "".
std::string NearestName(std::string_view word, const std::vector<std::string>& names);

// Lexical path cleaning with the rules of Go's path.Clean ("" becomes ".").
std::string CleanPath(std::string_view path);
// CleanPath(a + "/" + b), skipping empty parts; "" if all are empty (Go's path.Join).
std::string JoinPath(std::string_view a, std::string_view b);
// Go's path.Base and path.Dir.
std::string BaseName(std::string_view path);
std::string DirName(std::string_view path);

// "1.2MB" in decimal units with up to 4 significant digits (Go's units.HumanSize look).
std::string HumanBytes(int64_t bytes);

}  // namespace kiln
