// onggi-test-image ROOT NAME CONFIG DIR...: puts directory trees into the image store ROOT as the layers of
// an image.
//
// Owns: nothing that lasts; for tests of the engine that should not need the transfer worker. CONFIG is the
// "config" member of the image's configuration as JSON ("{}" is fine). Prints the image's id.
#include <fcntl.h>

#include <cstdio>

#include "base/file.h"
#include "base/json.h"
#include "base/sha256.h"
#include "image/store.h"
#include "sys/copy_tree.h"

using namespace onggi;

namespace {

Result<oci::Digest> add_layer(image::Store& store, const std::string& directory, int number) {
  // Content does not decide the name here: a layer of this store is found again by its directory's name.
  auto digest = oci::Digest::sha256(sha256_hex(directory + "\n" + std::to_string(number)));
  auto writer = TRY(store.begin_layer(digest));
  if (!writer) return digest;
  UniqueFd from = TRY(open_at(AT_FDCWD, directory, O_RDONLY | O_DIRECTORY));
  UniqueFd to = TRY(open_at(writer->directory(), "fs", O_RDONLY | O_DIRECTORY));
  TRY_VOID(sys::copy_tree(from.get(), to.get()));
  image::LayerInfo info;
  info.diff_id = digest;
  TRY_VOID(writer->commit(info));
  return digest;
}

Result<std::string> run(const std::string& root, const std::string& name, const std::string& config,
                        char** directories, int count) {
  image::Store store = TRY(image::Store::open(root));
  image::NewImage image;
  std::string ids;
  for (int n = 0; n < count; n++) {
    auto digest = TRY(add_layer(store, directories[n], n));
    ids += (n ? ",\"" : "\"") + digest.text() + "\"";
    image.layers.push_back({digest, {}, "application/vnd.oci.image.layer.v1.tar", 0});
  }
  image.config_json =
      "{\"created\":\"2024-05-01T12:00:00Z\",\"architecture\":\"amd64\",\"os\":\"linux\",\"config\":" +
      config + ",\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[" + ids +
      "]},\"history\":[{\"created\":\"2024-05-01T12:00:00Z\","
      "\"created_by\":\"COPY / /\",\"comment\":\"for tests\"}]}";
  image.manifest_type = "application/vnd.oci.image.manifest.v1+json";
  image.manifest_json =
      "{\"schemaVersion\":2,\"mediaType\":\"" + image.manifest_type +
      "\",\"config\":{\"mediaType\":\"application/vnd.oci.image.config.v1+json\",\"digest\":\"sha256:" +
      sha256_hex(image.config_json) + "\",\"size\":" + std::to_string(image.config_json.size()) +
      "},\"layers\":[]}";
  image.names.push_back(TRY(image::Reference::parse(name)));
  return TRY(store.add_image(image)).text();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 5) {
    fprintf(stderr, "onggi-test-image ROOT NAME CONFIG DIR...\n");
    return 2;
  }
  auto id = run(argv[1], argv[2], argv[3], argv + 4, argc - 4);
  if (!id) {
    fprintf(stderr, "onggi-test-image: %s\n", id.error().text().c_str());
    return 1;
  }
  printf("%s\n", id->c_str());
  return 0;
}
