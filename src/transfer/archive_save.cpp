// save; see archive.h.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "base/file.h"
#include "base/json.h"
#include "base/scope.h"
#include "oci/image_emit.h"
#include "oci/image_parse.h"
#include "transfer/archive.h"
#include "transfer/tar_writer.h"

namespace onggi::transfer {

namespace {

constexpr std::string_view kLayoutFile = R"({"imageLayoutVersion":"1.0.0"})";

struct Saved {
  image::ImageRecord image;
  image::Store::Document manifest;
  std::vector<oci::Descriptor> layers;  // what the manifest says
  std::vector<image::Reference> names;
};

// Where the files of a layout go: a directory, or a tar.
class Output {
 public:
  virtual ~Output() = default;
  virtual Result<> text(const std::string& path, std::string_view content) = 0;
  virtual Result<> blob(const std::string& path, int fd, uint64_t size) = 0;
  virtual Result<> finish() = 0;
};

class TarOutput final : public Output {
 public:
  explicit TarOutput(int fd)
      : tar_([fd](std::string_view data) { return write_all(fd, data, "the archive"); }) {}
  Result<> begin() {
    for (const char* name : {"blobs/", "blobs/sha256/"}) {
      TarEntry e;
      e.name = name;
      e.type = '5';
      e.mode = 0755;
      TRY_VOID(tar_.header(e));
    }
    return {};
  }
  Result<> text(const std::string& path, std::string_view content) override {
    TarEntry e;
    e.name = path;
    return tar_.file(e, content);
  }
  Result<> blob(const std::string& path, int fd, uint64_t size) override {
    TarEntry e;
    e.name = path;
    e.size = size;
    return tar_.file_from(e, fd);
  }
  Result<> finish() override { return tar_.finish(); }

 private:
  TarWriter tar_;
};

// Each file appears complete; index.json comes last, so a reader finds the old images or all of the new ones.
class DirectoryOutput final : public Output {
 public:
  explicit DirectoryOutput(UniqueFd directory) : directory_(std::move(directory)) {}
  static Result<std::unique_ptr<DirectoryOutput>> open(const std::string& path) {
    for (const std::string& name : {path, path + "/blobs", path + "/blobs/sha256"})
      if (::mkdir(name.c_str(), 0755) < 0 && errno != EEXIST)
        return fail(Error::os("create the directory", name));
    return std::make_unique<DirectoryOutput>(TRY(open_at(AT_FDCWD, path, O_RDONLY | O_DIRECTORY)));
  }
  Result<> text(const std::string& path, std::string_view content) override {
    return replace_file_at(directory_.get(), path, content, 0644);
  }
  Result<> blob(const std::string& path, int fd, uint64_t size) override {
    struct stat st;
    if (::fstatat(directory_.get(), path.c_str(), &st, 0) == 0 && static_cast<uint64_t>(st.st_size) == size)
      return {};
    std::string temporary = path + ".tmp." + std::to_string(::getpid());
    UniqueFd out = TRY(open_at(directory_.get(), temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0644));
    ScopeExit undo([&] { ::unlinkat(directory_.get(), temporary.c_str(), 0); });
    for (uint64_t left = size; left > 0;) {
      ssize_t n = ::copy_file_range(fd, nullptr, out.get(), nullptr, left, 0);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return fail(Error::os("copy to", path));
      left -= static_cast<uint64_t>(n);
    }
    if (::renameat(directory_.get(), temporary.c_str(), directory_.get(), path.c_str()) < 0)
      return fail(Error::os("rename", path));
    undo.release();
    return {};
  }
  Result<> finish() override { return {}; }
  [[nodiscard]] int fd() const { return directory_.get(); }

 private:
  UniqueFd directory_;
};

std::string blob_path(const oci::Digest& digest) { return "blobs/sha256/" + std::string(digest.hex()); }

Result<Saved> look_up(image::Store& store, const std::string& word) {
  Saved s;
  s.image = TRY(store.resolve(word));
  s.manifest = TRY(store.document(s.image.manifest));
  s.layers = TRY(oci::parse_manifest(s.manifest.json, s.manifest.media_type)).layers;
  auto ref = image::Reference::parse(word);
  // An id names nothing; a name goes along.
  if (ref && ref->digest.empty() &&
      std::find(s.image.names.begin(), s.image.names.end(), ref->canonical()) != s.image.names.end())
    s.names.push_back(*std::move(ref));
  return s;
}

// Several names of one image are one image with several names.
Result<std::vector<Saved>> look_up_all(image::Store& store, const std::vector<std::string>& words) {
  std::vector<Saved> all;
  for (const std::string& word : words) {
    Saved s = TRY(look_up(store, word));
    auto same =
        std::find_if(all.begin(), all.end(), [&](const Saved& o) { return o.image.id == s.image.id; });
    if (same == all.end())
      all.push_back(std::move(s));
    else
      same->names.insert(same->names.end(), s.names.begin(), s.names.end());
  }
  return all;
}

oci::Index make_index(const std::vector<Saved>& all, const Location& location) {
  oci::Index index;
  index.schema_version = 2;
  index.media_type = oci::kMediaIndex;
  auto add = [&](const Saved& s, const std::string& full, const std::string& name) {
    oci::Descriptor& d = index.manifests.emplace_back();
    d.media_type = s.manifest.media_type;
    d.digest = s.image.manifest;
    d.size = s.manifest.json.size();
    if (!full.empty()) d.annotations.emplace_back("io.containerd.image.name", full);
    if (!name.empty()) d.annotations.emplace_back("org.opencontainers.image.ref.name", name);
  };
  for (const Saved& s : all) {
    if (!location.name.empty()) {
      add(s, "", location.name);
      continue;
    }
    for (const image::Reference& name : s.names) add(s, name.canonical(), name.tag);
    if (s.names.empty()) add(s, "", "");
  }
  return index;
}

std::string make_docker_list(const std::vector<Saved>& all) {
  JsonWriter w;
  w.begin_array();
  for (const Saved& s : all) {
    std::vector<std::string> tags, layers;
    for (const image::Reference& name : s.names) tags.push_back(name.familiar());
    for (const oci::Descriptor& d : s.layers) layers.push_back(blob_path(d.digest));
    w.begin_object();
    w.member("Config", blob_path(s.image.id));
    w.member_strings("RepoTags", tags);
    w.member_strings("Layers", layers);
    w.end_object();
  }
  w.end_array();
  return w.take();
}

Result<> write_blobs(image::Store& store, const std::vector<Saved>& all, Output& out, Progress& progress) {
  std::vector<oci::Digest> written;
  auto first = [&written](const oci::Digest& d) {
    if (std::find(written.begin(), written.end(), d) != written.end()) return false;
    written.push_back(d);
    return true;
  };
  for (const Saved& s : all) {
    for (const oci::Descriptor& d : s.layers) {
      if (!first(d.digest)) continue;
      auto fd = store.open_blob(d.digest);
      if (!fd)
        return fail(
            Error::not_found("its layer " + std::string(d.digest.hex().substr(0, 12)) +
                             " is here unpacked but not as it was transferred; pull the image again after "
                             "'onggi rmi' to have it complete"));
      progress.layer(d.digest, "saving", 0, d.size);
      TRY_VOID(out.blob(blob_path(d.digest), fd->get(), d.size));
      progress.layer(d.digest, "done", d.size, d.size);
    }
    if (first(s.image.id)) TRY_VOID(out.text(blob_path(s.image.id), s.image.config_json));
    if (first(s.image.manifest)) TRY_VOID(out.text(blob_path(s.image.manifest), s.manifest.json));
  }
  return {};
}

// What an existing directory holds under other names stays.
Result<oci::Index> merged_with(int directory, oci::Index index) {
  auto text = read_file_at(directory, "index.json", oci::kMaxDocumentBytes);
  if (!text) return index;
  oci::Index old = TRY_CTX(oci::parse_index(*text), "index.json");
  auto name = [](const oci::Descriptor& d) {
    for (const auto& [key, value] : d.annotations)
      if (key == "org.opencontainers.image.ref.name") return value;
    return std::string();
  };
  for (const oci::Descriptor& d : old.manifests) {
    bool replaced =
        std::any_of(index.manifests.begin(), index.manifests.end(), [&](const oci::Descriptor& n) {
          return n.digest == d.digest || (!name(n).empty() && name(n) == name(d));
        });
    if (!replaced) index.manifests.push_back(d);
  }
  return index;
}

Result<> write_directory(image::Store& store, const std::vector<Saved>& all, const Location& location,
                         Progress& progress) {
  auto out = TRY(DirectoryOutput::open(location.path));
  TRY_VOID(write_blobs(store, all, *out, progress));
  TRY_VOID(out->text("oci-layout", kLayoutFile));
  oci::Index index = TRY(merged_with(out->fd(), make_index(all, location)));
  return out->text("index.json", oci::emit_index(index));
}

Result<> write_tar(image::Store& store, const std::vector<Saved>& all, const Location& location, int fd,
                   Progress& progress) {
  TarOutput out(fd);
  TRY_VOID(out.begin());
  TRY_VOID(write_blobs(store, all, out, progress));
  TRY_VOID(out.text("oci-layout", kLayoutFile));
  TRY_VOID(out.text("index.json", oci::emit_index(make_index(all, location))));
  if (location.transport != Transport::kOciArchive)
    TRY_VOID(out.text("manifest.json", make_docker_list(all)));
  return out.finish();
}

Result<> write_tar_file(image::Store& store, const std::vector<Saved>& all, const Location& location,
                        Progress& progress) {
  if (location.path == "-") {
    UniqueFd fd(::fcntl(3, F_DUPFD_CLOEXEC, 4));
    if (!fd) return fail(Error::invalid("'-' needs descriptor 3"));
    return write_tar(store, all, location, fd.get(), progress);
  }
  std::string temporary = location.path + ".tmp." + std::to_string(::getpid());
  UniqueFd fd = TRY(open_at(AT_FDCWD, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0644));
  ScopeExit undo([&] { ::unlink(temporary.c_str()); });
  TRY_VOID(write_tar(store, all, location, fd.get(), progress));
  if (::rename(temporary.c_str(), location.path.c_str()) < 0) return fail(Error::os("rename", location.path));
  undo.release();
  return {};
}

}  // namespace

Result<image::TransferEvent> save(image::Store& store, const image::TransferRequest& request,
                                  Progress& progress) {
  Location location = TRY_CTX(parse_location(request.path), "save");
  if (request.references.empty()) return fail(Error::invalid("save: which image?"));
  std::vector<Saved> all = TRY_CTX(look_up_all(store, request.references), "save");
  if (!location.name.empty() && location.transport == Transport::kDockerArchive) {
    if (all.size() != 1) return fail(Error::invalid("save: one name for several images"));
    all[0].names = {TRY_CTX(image::Reference::parse(location.name), "save")};
    location.name.clear();
  }
  if (location.transport == Transport::kOciDirectory)
    TRY_VOID_CTX(write_directory(store, all, location, progress), "save");
  else
    TRY_VOID_CTX(write_tar_file(store, all, location, progress), "save");
  image::TransferEvent result;
  for (const Saved& s : all) result.ids.push_back(s.image.id.text());
  return result;
}

}  // namespace onggi::transfer
