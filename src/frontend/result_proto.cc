#include "frontend/result_proto.h"

#include <utility>

namespace kiln::frontend {
namespace {

void RefToProto(const build::ReferencePtr& reference, const KeepReference& keep, wire::Ref* out) {
  out->set_id(keep(reference));
  if (reference != nullptr) *out->mutable_def() = reference->definition();
}

void AttestationToProto(const build::Attestation& attestation, const KeepReference& keep,
                        wire::Attestation* out) {
  out->set_kind(attestation.kind == build::AttestationKind::kBundle ? wire::Bundle : wire::InToto);
  for (const auto& [key, value] : attestation.metadata) (*out->mutable_metadata())[key] = value;
  // Always there, even if empty: clients dereference it.
  RefToProto(attestation.ref, keep, out->mutable_ref());
  out->set_path(attestation.path);
  out->set_intotopredicatetype(attestation.in_toto_predicate_type);
  for (const build::AttestationSubject& subject : attestation.in_toto_subjects) {
    wire::InTotoSubject* entry = out->add_intotosubjects();
    entry->set_kind(subject.kind == build::SubjectKind::kRaw ? wire::Raw : wire::Self);
    entry->set_name(subject.name);
    for (const auto& digest : subject.digests) entry->add_digest(digest);
  }
}

Result<build::ReferencePtr> RefFromProto(const std::string& id, const FindReference& find) {
  if (id.empty()) return build::ReferencePtr();
  auto found = find(id);
  if (!found.ok()) return Unknown("return reference {} not found", id);
  return found;
}

Result<build::Attestation> AttestationFromProto(const wire::Attestation& in,
                                                const FindReference& find) {
  build::Attestation out;
  if (in.kind() != wire::InToto && in.kind() != wire::Bundle) {
    return InvalidArgument("unknown attestation kind {}", static_cast<int>(in.kind()));
  }
  out.kind =
      in.kind() == wire::Bundle ? build::AttestationKind::kBundle : build::AttestationKind::kInToto;
  out.metadata = {in.metadata().begin(), in.metadata().end()};
  TRY_ASSIGN(out.ref, RefFromProto(in.ref().id(), find));
  out.path = in.path();
  out.in_toto_predicate_type = in.intotopredicatetype();
  for (const wire::InTotoSubject& subject : in.intotosubjects()) {
    if (subject.kind() != wire::Self && subject.kind() != wire::Raw) {
      return InvalidArgument("unknown attestation subject kind {}",
                             static_cast<int>(subject.kind()));
    }
    out.in_toto_subjects.push_back(
        {subject.kind() == wire::Raw ? build::SubjectKind::kRaw : build::SubjectKind::kSelf,
         subject.name(),
         {subject.digest().begin(), subject.digest().end()}});
  }
  return out;
}

}  // namespace

void ToProto(const build::BuildResult& result, bool refs_with_definitions,
             const KeepReference& keep, wire::Result* out) {
  if (refs_with_definitions && result.is_map) {
    auto& refs = *out->mutable_refs()->mutable_refs();
    for (const auto& [key, reference] : result.refs) RefToProto(reference, keep, &refs[key]);
  } else if (refs_with_definitions) {
    RefToProto(result.ref, keep, out->mutable_ref());
  } else if (result.is_map) {
    auto& refs = *out->mutable_refsdeprecated()->mutable_refs();
    for (const auto& [key, reference] : result.refs) refs[key] = keep(reference);
  } else {
    out->set_refdeprecated(keep(result.ref));
  }
  for (const auto& [key, value] : result.metadata) (*out->mutable_metadata())[key] = value;
  for (const auto& [key, list] : result.attestations) {
    wire::Attestations& entry = (*out->mutable_attestations())[key];
    for (const auto& attestation : list) {
      AttestationToProto(attestation, keep, entry.add_attestation());
    }
  }
}

Result<build::BuildResult> FromProto(const wire::Result& result, const FindReference& find) {
  build::BuildResult out;
  switch (result.result_case()) {
    case wire::Result::kRefDeprecated: {
      TRY_ASSIGN(out.ref, RefFromProto(result.refdeprecated(), find));
      break;
    }
    case wire::Result::kRef: {
      TRY_ASSIGN(out.ref, RefFromProto(result.ref().id(), find));
      break;
    }
    case wire::Result::kRefsDeprecated:
      out.is_map = true;
      for (const auto& [key, id] : result.refsdeprecated().refs()) {
        TRY_ASSIGN(out.refs[key], RefFromProto(id, find));
      }
      break;
    case wire::Result::kRefs:
      out.is_map = true;
      for (const auto& [key, ref] : result.refs().refs()) {
        TRY_ASSIGN(out.refs[key], RefFromProto(ref.id(), find));
      }
      break;
    case wire::Result::RESULT_NOT_SET:
      break;
  }
  // A map of nothing says no more than no reference.
  out.is_map = out.is_map && !out.refs.empty();
  out.metadata = {result.metadata().begin(), result.metadata().end()};
  for (const auto& [key, list] : result.attestations()) {
    for (const wire::Attestation& attestation : list.attestation()) {
      TRY_ASSIGN(build::Attestation value, AttestationFromProto(attestation, find));
      out.attestations[key].push_back(std::move(value));
    }
  }
  return out;
}

}  // namespace kiln::frontend
