#include "llb/go_json.h"

#include <google/protobuf/descriptor.h>

#include <algorithm>
#include <charconv>
#include <vector>

#include "base/strings.h"
#include "oci/json.h"
#include "pb/ops.pb.h"

namespace kiln::llb {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

template <typename Number>
void AppendNumber(std::string& out, Number number) {
  char buffer[24];
  auto end = std::to_chars(buffer, buffer + sizeof buffer, number).ptr;
  out.append(buffer, end);
}

void AppendText(std::string& out, const FieldDescriptor& field, const std::string& text) {
  if (field.type() == FieldDescriptor::TYPE_BYTES) {
    out += '"';
    out += Base64Encode(text);
    out += '"';
  } else {
    oci::AppendGoJsonString(out, text);
  }
}

void AppendSingular(std::string& out, const Message& message, const FieldDescriptor& field) {
  const Reflection& reflection = *message.GetReflection();
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      return AppendNumber(out, reflection.GetInt32(message, &field));
    case FieldDescriptor::CPPTYPE_INT64:
      return AppendNumber(out, reflection.GetInt64(message, &field));
    case FieldDescriptor::CPPTYPE_UINT32:
      return AppendNumber(out, reflection.GetUInt32(message, &field));
    case FieldDescriptor::CPPTYPE_UINT64:
      return AppendNumber(out, reflection.GetUInt64(message, &field));
    case FieldDescriptor::CPPTYPE_ENUM:
      return AppendNumber(out, reflection.GetEnumValue(message, &field));
    case FieldDescriptor::CPPTYPE_BOOL:
      out += reflection.GetBool(message, &field) ? "true" : "false";
      return;
    case FieldDescriptor::CPPTYPE_STRING:
      return AppendText(out, field, reflection.GetString(message, &field));
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return AppendGoJson(out, reflection.GetMessage(message, &field));
    default:
      CHECK_MSG(false, "LLB has no floating point fields");
  }
}

void AppendElement(std::string& out, const Message& message, const FieldDescriptor& field, int i) {
  const Reflection& reflection = *message.GetReflection();
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      return AppendNumber(out, reflection.GetRepeatedInt32(message, &field, i));
    case FieldDescriptor::CPPTYPE_INT64:
      return AppendNumber(out, reflection.GetRepeatedInt64(message, &field, i));
    case FieldDescriptor::CPPTYPE_STRING:
      return AppendText(out, field, reflection.GetRepeatedString(message, &field, i));
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return AppendGoJson(out, reflection.GetRepeatedMessage(message, &field, i));
    default:
      CHECK_MSG(false, "LLB has no lists of this type");
  }
}

void AppendMap(std::string& out, const Message& message, const FieldDescriptor& field) {
  const Reflection& reflection = *message.GetReflection();
  const FieldDescriptor* key = field.message_type()->map_key();
  const FieldDescriptor* value = field.message_type()->map_value();
  CHECK(key->cpp_type() == FieldDescriptor::CPPTYPE_STRING);
  std::vector<const Message*> entries;
  for (int i = 0; i < reflection.FieldSize(message, &field); ++i)
    entries.push_back(&reflection.GetRepeatedMessage(message, &field, i));
  auto key_of = [&](const Message* entry) {
    return entry->GetReflection()->GetString(*entry, key);
  };
  std::sort(entries.begin(), entries.end(),
            [&](const Message* a, const Message* b) { return key_of(a) < key_of(b); });
  out += '{';
  for (size_t i = 0; i < entries.size(); ++i) {
    if (i != 0) out += ',';
    oci::AppendGoJsonString(out, key_of(entries[i]));
    out += ':';
    AppendSingular(out, *entries[i], *value);
  }
  out += '}';
}

bool IsSet(const Message& message, const FieldDescriptor& field) {
  const Reflection& reflection = *message.GetReflection();
  return field.is_repeated() ? reflection.FieldSize(message, &field) > 0
                             : reflection.HasField(message, &field);
}

// Upstream gives this one a JSON form of its own, in which the id 0 is as good as none.
void AppendUserOpt(std::string& out, const pb::UserOpt& user) {
  out += "{\"User\":";
  if (user.has_byname()) {
    out += "{\"byName\":";
    AppendGoJson(out, user.byname());
    out += '}';
  } else if (user.byid() != 0) {
    out += "{\"byId\":";
    AppendNumber(out, user.byid());
    out += '}';
  } else {
    out += "{}";
  }
  out += '}';
}

}  // namespace

void AppendGoJson(std::string& out, const Message& message) {
  if (message.GetDescriptor() == pb::UserOpt::descriptor())
    return AppendUserOpt(out, static_cast<const pb::UserOpt&>(message));
  out += '{';
  bool first = true;
  for (int i = 0; i < message.GetDescriptor()->field_count(); ++i) {
    const FieldDescriptor& field = *message.GetDescriptor()->field(i);
    if (!IsSet(message, field)) continue;
    if (!first) out += ',';
    first = false;
    out += '"';
    out += field.name();
    out += "\":";
    if (field.is_map()) {
      AppendMap(out, message, field);
    } else if (field.is_repeated()) {
      out += '[';
      for (int element = 0; element < message.GetReflection()->FieldSize(message, &field);
           ++element) {
        if (element != 0) out += ',';
        AppendElement(out, message, field, element);
      }
      out += ']';
    } else {
      AppendSingular(out, message, field);
    }
  }
  out += '}';
}

}  // namespace kiln::llb
