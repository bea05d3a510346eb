// Rotated log files as gzip.
#pragma once

#include <functional>
#include <string>

#include "base/result.h"

namespace onggi::engine {

// FILE (PATH.n) becomes PATH.n.gz. The writer may rotate meanwhile: the file is found again by its inode,
// under the flock of the directory that the writer takes, too. A file that was rotated away is left.
Result<> compress_log(const std::string& file);
// Hands over the content of a gzip file in blocks; false from the callee ends it.
Result<> read_gzip(const std::string& file, const std::function<bool(std::string_view)>& each);

}  // namespace onggi::engine
