// A few workers at a time, and what they say.
#pragma once

#include <deque>
#include <functional>
#include <string>
#include <vector>

#include "stack/update.h"
#include "sys/worker.h"

namespace onggi::stack {

// What a worker found out: lines for the user, the container's id, an error.
struct Outcome {
  std::vector<std::pair<std::string, std::string>> told;
  std::string id;
  Result<> result;
};

class Crew {
 public:
  // `most`: workers at once; 0: by the number of processors.
  Crew(engine::Engine& engine, int most);

  using Work = std::function<Result<std::string>(engine::Engine& engine, const Told& told)>;  // an id, or ""
  using Done = std::function<void(Outcome outcome)>;
  // Starts it now or when a place is free. `done` is called from wait().
  void add(Work work, Done done);
  [[nodiscard]] bool idle() const { return waiting_.empty() && working_.empty(); }
  // Until a worker has said its last word or `timeout_ms` (-1: none) has passed.
  Result<> wait(int timeout_ms);
  // Until all have.
  Result<> finish();

 private:
  struct Job {
    Work work;
    Done done;
    sys::Worker worker;
  };
  Result<> fill();
  engine::Engine& engine_;
  size_t most_;
  std::deque<Job> waiting_;
  std::vector<Job> working_;
};

}  // namespace onggi::stack
