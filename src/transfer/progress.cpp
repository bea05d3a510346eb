#include "transfer/progress.h"

#include "base/file.h"

namespace onggi::transfer {

static constexpr auto kInterval = std::chrono::milliseconds(100);

// Whoever reads it may be gone; the work is judged by the store, not by who listens.
void Progress::write(const image::TransferEvent& event) {
  if (ended_) return;
  JsonWriter w;
  json_write(w, event);
  (void)write_all(output_, w.take() + "\n", "progress");
}

void Progress::layer(const oci::Digest& digest, const char* status, uint64_t current, uint64_t total) {
  std::lock_guard guard(mutex_);
  Last& last = last_[digest.text()];
  auto now = std::chrono::steady_clock::now();
  if (last.status == status && now - last.when < kInterval) return;
  last = {status, now};
  image::TransferEvent event;
  event.event = "layer";
  event.layer = digest.text();
  event.status = status;
  event.current = current;
  event.total = total;
  write(event);
}

void Progress::note(std::string text) {
  std::lock_guard guard(mutex_);
  image::TransferEvent event;
  event.event = "note";
  event.text = std::move(text);
  write(event);
}

void Progress::result(image::TransferEvent event) {
  std::lock_guard guard(mutex_);
  event.event = "result";
  write(event);
  ended_ = true;
}

void Progress::error(const Error& error) {
  std::lock_guard guard(mutex_);
  image::TransferEvent event;
  event.event = "error";
  event.kind = image::error_kind_name(error.kind());
  event.text = error.text();
  write(event);
  ended_ = true;
}

}  // namespace onggi::transfer
