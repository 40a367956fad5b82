#include "control/history_stream.h"

#include <deque>
#include <utility>

#include "control/write_stream.h"
#include "history/filter.h"

namespace kiln::control {
namespace {

namespace pb = moby::buildkit::v1;
using history::Event;
using history::Record;

class HistoryStream final : public WriteStream<Event> {
 public:
  HistoryStream(history::History& history, WorkerPool& blocking, const Clock& clock,
                pb::BuildHistoryRequest request)
      : WriteStream(&blocking), history_(history), clock_(clock), request_(std::move(request)) {}

 private:
  Result<Step> Next(Event* event) override {
    if (!std::exchange(listed_, true)) {
      Listen();
      TRY(List());
      CallNextOn(nullptr);
    }
    if (!known_.empty()) {
      *event = std::move(known_.front());
      known_.pop_front();
      return Step::kMessage;
    }
    MutexLock lock(mutex_);
    if (overrun_) {
      return ResourceExhausted("{} events of the build history wait to be read", kMaxWaitingEvents);
    }
    if (events_.empty()) return request_.earlyexit() ? Step::kEnd : Step::kNothingYet;
    *event = std::move(events_.front());
    events_.pop_front();
    return Step::kMessage;
  }

  // Before the list is made: what happens meanwhile is not missed.
  void Listen() {
    if (request_.earlyexit()) return;
    listening_ = history_.Listen([weak = weak_from_this()](const Event& event) {
      const auto self = std::static_pointer_cast<HistoryStream>(weak.lock());
      if (self) self->Happened(event);
    });
  }

  void Happened(const Event& event) EXCLUDES(mutex_) {
    if (!request_.ref().empty() && event.record().ref() != request_.ref()) return;
    {
      MutexLock lock(mutex_);
      overrun_ = overrun_ || events_.size() >= kMaxWaitingEvents;
      if (overrun_) {
        events_.clear();
      } else {
        events_.push_back(event);
      }
    }
    Wake();
  }

  Status List() {
    if (request_.limit() < 0) return InvalidArgument("limit is negative");
    Know(pb::STARTED, OfRef(history_.Active()));
    if (request_.activeonly()) return OkStatus();
    std::vector<Record> ended;
    if (request_.ref().empty()) {
      ended = history_.Completed();
    } else if (auto record = history_.Find(request_.ref())) {
      ended.push_back(*std::move(record));
    }
    TRY_ASSIGN(ended, history::Matching(std::move(ended),
                                        {request_.filter().begin(), request_.filter().end()},
                                        clock_.Now()));
    const auto limit = static_cast<size_t>(request_.limit());
    if (limit > 0 && ended.size() > limit) ended.resize(limit);
    Know(pb::COMPLETE, std::move(ended));
    return OkStatus();
  }

  std::vector<Record> OfRef(std::vector<Record> records) const {
    if (!request_.ref().empty())
      std::erase_if(records, [&](const Record& one) { return one.ref() != request_.ref(); });
    return records;
  }

  void Know(pb::BuildHistoryEventType type, std::vector<Record> records) {
    for (Record& record : records) {
      Event& event = known_.emplace_back();
      event.set_type(type);
      *event.mutable_record() = std::move(record);
    }
  }

  history::History& history_;
  const Clock& clock_;
  const pb::BuildHistoryRequest request_;
  // The producer's.
  bool listed_ = false;
  std::deque<Event> known_;
  std::shared_ptr<void> listening_;
  Mutex mutex_;
  std::deque<Event> events_ GUARDED_BY(mutex_);
  bool overrun_ GUARDED_BY(mutex_) = false;
};

}  // namespace

grpc::ServerWriteReactor<Event>* ServeHistory(history::History& history, WorkerPool& blocking,
                                              const Clock& clock,
                                              const pb::BuildHistoryRequest& request) {
  return HistoryStream::Serve(std::make_shared<HistoryStream>(history, blocking, clock, request));
}

}  // namespace kiln::control
