#include "rpc/status.h"

#include <google/protobuf/any.pb.h>
#include <google/rpc/status.pb.h>

#include "base/strings.h"

namespace kiln::rpc {

void ToProto(const Error& error, google::rpc::Status* out) {
  out->set_code(static_cast<int>(error.code()));
  out->set_message(ToValidUtf8(error.ToString()));
  for (const auto& detail : error.details()) {
    google::protobuf::Any* any = out->add_details();
    any->set_type_url(detail.type_url);
    any->set_value(detail.value);
  }
}

Error FromProto(const google::rpc::Status& status) {
  const bool known = status.code() > 0 && status.code() <= 16;
  Error error(known ? static_cast<Code>(status.code()) : Code::kUnknown, status.message());
  for (const google::protobuf::Any& any : status.details())
    error.AddDetail({any.type_url(), any.value()});
  return error;
}

grpc::Status ToGrpc(const Error& error) {
  google::rpc::Status proto;
  ToProto(error, &proto);
  const auto code = static_cast<grpc::StatusCode>(error.code());
  if (proto.details().empty()) return {code, proto.message()};
  return {code, proto.message(), proto.SerializeAsString()};
}

grpc::Status ToGrpc(const Status& status) {
  return status ? grpc::Status::OK : ToGrpc(status.error());
}

Error FromGrpc(const grpc::Status& status) {
  google::rpc::Status proto;
  if (!status.error_details().empty() && proto.ParseFromString(status.error_details()) &&
      proto.code() == static_cast<int>(status.error_code())) {
    return FromProto(proto);
  }
  proto.Clear();
  proto.set_code(static_cast<int>(status.error_code()));
  proto.set_message(status.error_message());
  return FromProto(proto);
}

Status ToStatus(const grpc::Status& status) {
  if (status.ok()) return OkStatus();
  return FromGrpc(status);
}

}  // namespace kiln::rpc
