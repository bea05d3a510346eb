#include "stack/load.h"

#include <gtest/gtest.h>

#include "stack/complete.h"
#include "stack/emit.h"
#include "stack/fake_files.h"
#include "stack/identity.h"
#include "stack/schema.h"

namespace onggi::stack {
namespace {

constexpr const char* kFile = "/work/demo/compose.yaml";

// JSON of a path in the project that the files make ("services.a.ports"), or the error.
std::string at(std::map<std::string, std::string> files, const std::string& path,
               void (*change)(LoadRequest&) = nullptr) {
  FakeFiles fake(std::move(files));
  if (change) change(fake.request);
  auto project = fake.load();
  if (!project) return project.error().text();
  const Node* n = &project->root;
  for (size_t from = 0; n && from < path.size();) {
    size_t end = std::min(path.find('/', from), path.size());
    n = n->find(path.substr(from, end - from));
    from = end + 1;
  }
  return n ? to_json(*n) : "absent";
}
std::string one(const std::string& service, const std::string& path) {
  return at({{kFile, "services:\n  a:\n    image: x\n" + service}}, path.empty() ? "" : "services/a/" + path);
}
void expect_error(const std::string& file, const std::string& wanted) {
  std::string got = at({{kFile, file}}, "");
  EXPECT_NE(got.find(wanted), std::string::npos) << file << "\n" << got;
}

TEST(Load, ShortFormsBecomeLong) {
  EXPECT_EQ(one("    ports: ['8080:80', '127.0.0.1:53:53/udp', 9]", "ports"),
            R"([{"mode":"ingress","target":80,"published":"8080","protocol":"tcp"},)"
            R"({"mode":"ingress","host_ip":"127.0.0.1","target":53,"published":"53","protocol":"udp"},)"
            R"({"mode":"ingress","target":9,"protocol":"tcp"}])");
  EXPECT_EQ(one("    ports: ['[::1]:1-2:3-4']", "ports"),
            R"([{"mode":"ingress","host_ip":"::1","target":3,"published":"1","protocol":"tcp"},)"
            R"({"mode":"ingress","host_ip":"::1","target":4,"published":"2","protocol":"tcp"}])");
  EXPECT_EQ(one("    ports: ['5000-5010:80']", "ports"),
            R"([{"mode":"ingress","target":80,"published":"5000-5010","protocol":"tcp"}])");
  EXPECT_EQ(
      one("    volumes: ['./d:/d:ro', '/anon', '~/h:/h:rslave']", "volumes"),
      R"([{"type":"bind","source":"/work/demo/d","target":"/d","read_only":true,"bind":{"create_host_path":true}},)"
      R"({"type":"volume","target":"/anon","volume":{}},)"
      R"({"type":"bind","source":"/users/u/h","target":"/h","bind":{"propagation":"rslave","create_host_path":true}}])");
  EXPECT_EQ(one("    command: sh -c \"a 'b' \\$$c\"", "command"), R"(["sh","-c","a 'b' $c"])");
  EXPECT_EQ(one("    healthcheck: {test: curl x, interval: 90s, timeout: 0.5s}", "healthcheck"),
            R"({"test":["CMD-SHELL","curl x"],"interval":"1m30s","timeout":"500ms"})");
  EXPECT_EQ(one("    mem_limit: 1.5g\n    shm_size: 64m", "mem_limit"), R"("1610612736")");
  EXPECT_EQ(one("    extra_hosts: {h: 1.2.3.4, v: '[::1]'}", "extra_hosts"), R"(["h=1.2.3.4","v=::1"])");
  EXPECT_EQ(
      one("    devices: ['/dev/a', '/dev/a:/dev/b:r', '/dev/c:rw']", "devices"),
      R"([{"source":"/dev/a","target":"/dev/a","permissions":"rwm"},{"source":"/dev/a","target":"/dev/b","permissions":"r"},)"
      R"({"source":"/dev/c","target":"/dev/c","permissions":"rw"}])");
  EXPECT_EQ(one("    ulimits: {nofile: 10, nproc: {soft: 1, hard: 2}}", "ulimits"),
            R"({"nofile":10,"nproc":{"soft":1,"hard":2}})");
  EXPECT_EQ(one("    environment: [A=1, B]\n    labels: [x=y, z]", "environment"), R"({"A":"1","B":null})");
  EXPECT_EQ(one("    environment: {A: 1, B: true, C: 1.50, D: 0x10}", "environment"),
            R"({"A":"1","B":"true","C":"1.5","D":"16"})");
}

TEST(Load, DefaultsAreMadeExplicit) {
  EXPECT_EQ(one("", "networks"), R"({"default":null})");
  EXPECT_EQ(at({{kFile, "services: {a: {image: x}}"}}, "networks"), R"({"default":{"name":"demo_default"}})");
  EXPECT_EQ(
      at({{kFile,
           "name: other\nservices: {a: {image: x, volumes: ['v:/v'], networks: [n]}}\nvolumes: {v: , w: "
           "}\nnetworks: {n: {external: true}}"}},
         ""),
      R"({"name":"other","services":{"a":{"image":"x","volumes":[{"type":"volume","source":"v","target":"/v","volume":{}}],"networks":{"n":null}}},)"
      R"("volumes":{"v":{"name":"other_v"}},"networks":{"n":{"external":true,"name":"n"}}})");
  EXPECT_EQ(
      at({{kFile, "services: {a: {image: x, links: ['b:c']}, b: {image: y}}"}}, "services/a/depends_on"),
      R"({"b":{"condition":"service_started","restart":true,"required":true}})");
}

TEST(Load, UnknownFieldsAreErrorsWithTheirPlace) {
  expect_error("services:\n  a:\n    image: x\n    imgae: y\n",
               "compose.yaml:4:5: unknown field services.a.imgae (did you mean 'image'?)");
  expect_error(
      "services:\n  a:\n    image: x\n    deploy: {resources: {limits: {memoy: 1m}}}\n",
      "compose.yaml:4:35: unknown field services.a.deploy.resources.limits.memoy (did you mean 'memory'?)");
  expect_error("foo: 1\nservices: {a: {image: x}}", "compose.yaml:1:1: unknown field foo");
  expect_error("services: {a: {image: x, healthcheck: {intervall: 1s}}}", "did you mean 'interval'?");
  // All of them at once.
  std::string both = at({{kFile, "services:\n  a: {image: x, q: 1}\n  b: {image: y, r: 2}\n"}}, "");
  EXPECT_NE(both.find("services.a.q"), std::string::npos);
  EXPECT_NE(both.find("services.b.r"), std::string::npos);
  EXPECT_EQ(one("    x-any: {thing: [1]}", "x-any"), R"({"thing":[1]})");
}

TEST(Load, WrongTypesAreErrors) {
  expect_error("services: {a: {image: 5}}",
               "compose.yaml:1:23: services.a.image must be a string, not a number (5)");
  expect_error("services: {a: {image: x, ports: 80}}", "services.a.ports must be a list");
  expect_error("services: {a: {image: x, mem_limit: lots}}", "must be a size in bytes");
  expect_error("services: {a: {image: x, stop_grace_period: 5}}", "must be a duration");
  expect_error("services: {a: {image: x, tty: maybe}}", "must be true or false");
  expect_error("services: {a: {image: x, ports: ['80:x']}}", "compose.yaml:1:34: 'x' is no port");
  expect_error("services: {a: {image: x, ports: ['1-3:5-6']}}", "differ in length");
  expect_error("services: {a: {image: x, ports: ['80/icmp']}}", "protocol");
  expect_error("services: {a: {image: x, volumes: ['a:b:c:d']}}", "is no volume");
  expect_error("services: {a: {image: x, volumes: ['v:/v:rx']}}\nvolumes: {v: }", "'rx' is no mode");
  expect_error("services: {a: {image: x, depends_on: {b: {condition: ready}}}, b: {image: y}}",
               "is not one of: service_started");
  expect_error("services: [a]", "services must be a mapping");
  expect_error("services: {'a b': {image: x}}", "'a b' is no name");
  expect_error("services: {a: {image: x, command: \"a 'b\"}}", "is not closed");
}

TEST(Load, WhatDoesNotFitTogetherIsAnError) {
  expect_error("services: {a: {}}", "neither an image nor a build context");
  expect_error("services: {a: {image: x, networks: [n]}}", "undefined network n");
  expect_error("services: {a: {image: x, volumes: ['v:/v']}}", "undefined volume v");
  expect_error("services: {a: {image: x, configs: [c]}}", "undefined config c");
  expect_error("services: {a: {image: x, depends_on: [b]}}", "depends on undefined service \"b\"");
  expect_error("services: {a: {image: x, depends_on: [b]}, b: {image: y, profiles: [p]}}",
               "its profile is not active");
  expect_error("services: {a: {image: x, depends_on: [b]}, b: {image: y, depends_on: [a]}}",
               "dependency cycle detected: a -> b -> a");
  expect_error("services: {a: {image: x, network_mode: host, networks: [n]}}\nnetworks: {n: }",
               "exclude each other");
  expect_error("services: {a: {image: x, container_name: c, scale: 2}}", "container_name");
  expect_error("services: {a: {image: x, mem_limit: 1m, deploy: {resources: {limits: {memory: 2m}}}}}",
               "differ");
  expect_error("services: {a: {image: x, volumes: ['/a:/x', '/b:/x']}}", "two volumes are mounted at /x");
  expect_error("services: {a: {image: x, configs: [c]}}\nconfigs: {c: {file: a, content: b}}",
               "exclude each other");
  expect_error("services: {a: {image: x, configs: [c]}}\nconfigs: {c: {external: true, file: b}}",
               "conflicting parameters");
}

TEST(Load, VariablesFromFilesAndEnvironment) {
  std::map<std::string, std::string> files = {
      {kFile, "services: {a: {image: 'x:${TAG}', environment: {E: , F: }}}"},
      {"/work/demo/.env", "TAG=1\nE=2\n"}};
  EXPECT_EQ(at(files, "services/a/image"), R"("x:1")");
  EXPECT_EQ(at(files, "services/a/environment"), R"({"E":"2","F":null})");
  EXPECT_EQ(at(files, "services/a/image", [](LoadRequest& r) { r.environment["TAG"] = "shell"; }),
            R"("x:shell")");
  files["/work/demo/o.env"] = "TAG=o";
  EXPECT_EQ(at(files, "services/a/image", [](LoadRequest& r) { r.env_files = {"o.env"}; }), R"("x:o")");
  EXPECT_NE(at(files, "", [](LoadRequest& r) { r.env_files = {"nope.env"}; }).find("nope.env"),
            std::string::npos);
  EXPECT_EQ(at(files, "services/a/image", [](LoadRequest& r) { r.interpolate = false; }), R"("x:${TAG}")");
  expect_error("services:\n  a:\n    image: ${NO:?give it}\n",
               "compose.yaml:3:12: required variable NO is missing a value: give it");
  expect_error("services:\n  a:\n    image: ${NO\n", "compose.yaml:3:12: invalid interpolation format");
  FakeFiles fake(std::map<std::string, std::string>{{kFile, "services: {a: {image: 'x${NO}'}}"}});
  auto project = fake.load();
  ASSERT_TRUE(project);
  ASSERT_EQ(project->warnings.size(), 1u);
  EXPECT_EQ(project->warnings[0], "The \"NO\" variable is not set. Defaulting to a blank string.");
}

TEST(Load, EnvironmentFiles) {
  std::map<std::string, std::string> files = {
      {kFile,
       "services: {a: {image: x, env_file: [a.env, {path: b.env, required: false}, {path: no.env, required: "
       "false}], environment: [B=own]}}"},
      {"/work/demo/a.env", "A=1\nB=2\nC=\"q r\""},
      {"/work/demo/b.env", "A=3"}};
  EXPECT_EQ(at(files, "services/a/environment"), R"({"A":"3","B":"own","C":"q r"})");
  expect_error("services: {a: {image: x, env_file: no.env}}", "no.env");
  EXPECT_EQ(at({{kFile, "services: {a: {image: x, env_file: [{path: r.env, format: raw}]}}"},
                {"/work/demo/r.env", "A=\"x\" $B\n"}},
               "services/a/environment"),
            R"({"A":"\"x\" $B"})");
}

TEST(Load, LaterFilesOverride) {
  auto both = [](const char* a, const char* b, const char* path) {
    return at(
        {{"/work/demo/a.yaml", std::string("services: {a: {image: x, ") + a + "}}\nvolumes: {v: , w: }"},
         {"/work/demo/b.yaml", std::string("services: {a: {") + b + "}}"}},
        std::string("services/a/") + path, [](LoadRequest& r) {
          r.files = {"a.yaml", "b.yaml"};
        });
  };
  EXPECT_EQ(both("command: [a, b]", "command: [c]", "command"), R"(["c"])");
  EXPECT_EQ(both("environment: [A=1, B=2]", "environment: {B: 3, C: 4}", "environment"),
            R"({"A":"1","B":"3","C":"4"})");
  EXPECT_EQ(both("dns: 1.1.1.1", "dns: [8.8.8.8, 1.1.1.1]", "dns"), R"(["1.1.1.1","8.8.8.8"])");
  EXPECT_EQ(
      both("volumes: ['v:/d', 'v:/e']", "volumes: ['w:/d']", "volumes"),
      R"([{"type":"volume","source":"w","target":"/d","volume":{}},{"type":"volume","source":"v","target":"/e","volume":{}}])");
  EXPECT_EQ(both("expose: [1]", "expose: ['2']", "expose"), R"(["1","2"])");
  EXPECT_EQ(both("ports: ['1:1']", "ports: ['1:1', '2:2']", "ports").find("\"published\":\"1\"", 60),
            std::string::npos);
  EXPECT_EQ(
      both("logging: {driver: json-file, options: {max-size: 1m}}", "logging: {driver: none}", "logging"),
      R"({"driver":"none"})");
  EXPECT_EQ(both("logging: {driver: json-file, options: {max-size: 1m}}",
                 "logging: {options: {max-file: '2'}}", "logging"),
            R"({"driver":"json-file","options":{"max-size":"1m","max-file":"2"}})");
  EXPECT_EQ(both("healthcheck: {test: a, retries: 2}", "healthcheck: {test: [CMD, b]}", "healthcheck"),
            R"({"test":["CMD","b"],"retries":2})");
  EXPECT_EQ(both("ports: ['1:1'], environment: {A: 1, B: 2}",
                 "ports: !reset [], environment: {A: !reset null}", "environment"),
            R"({"B":"2"})");
  EXPECT_EQ(both("ports: ['1:1']", "ports: !reset []", "ports"), "absent");
  EXPECT_EQ(both("ports: ['1:1']", "ports: !override ['2:2']", "ports"),
            R"([{"mode":"ingress","target":2,"published":"2","protocol":"tcp"}])");
  EXPECT_EQ(both("ulimits: {nofile: 1}", "ulimits: {nofile: {soft: 2, hard: 3}}", "ulimits"),
            R"({"nofile":{"soft":2,"hard":3}})");
  EXPECT_EQ(both("build: ./d", "build: {target: t}", "build"),
            R"({"context":"/work/demo","dockerfile":"Dockerfile","target":"t"})");
}

TEST(Load, OverrideFileIsFoundBesideTheFirst) {
  EXPECT_EQ(at({{kFile, "services: {a: {image: x}}"},
                {"/work/demo/compose.override.yaml", "services: {a: {hostname: h}}"}},
               "services/a/hostname"),
            R"("h")");
  EXPECT_EQ(at({{"/work/docker-compose.yml", "services: {a: {image: x}}"}}, "name"), R"("work")");
  EXPECT_NE(at({}, "").find("no configuration file provided"), std::string::npos);
}

TEST(Load, Extends) {
  std::map<std::string, std::string> files = {
      {kFile,
       "services: {a: {extends: {file: base/b.yaml, service: s}, environment: {B: own}}, c: {extends: d}, d: "
       "{image: y, cpus: 1}}"},
      {"/work/demo/base/b.yaml",
       "services: {s: {extends: t, image: x, volumes: ['./v:/v']}, t: {environment: [A=1, B=2], image: q}}"}};
  EXPECT_EQ(
      at(files, "services/a"),
      R"({"image":"x","volumes":[{"type":"bind","source":"/work/demo/base/v","target":"/v","bind":{"create_host_path":true}}],"environment":{"A":"1","B":"own"},"networks":{"default":null}})");
  EXPECT_EQ(at(files, "services/c/cpus"), "1");
  expect_error("services: {a: {image: x, extends: b}, b: {image: y, extends: a}}", "extends itself");
  expect_error("services: {a: {image: x, extends: a}}", "extends itself");
  expect_error("services: {a: {image: x, extends: b}}", "which is not in this file");
  expect_error("services: {a: {image: x, extends: {service: b, file: no.yaml}}}", "no.yaml");
  EXPECT_NE(at({{kFile, "services: {a: {extends: {file: o.yaml, service: b}}}"},
                {"/work/demo/o.yaml", "services: {b: {extends: {file: compose.yaml, service: a}}}"}},
               "")
                .find("extends itself"),
            std::string::npos);
}

TEST(Load, Include) {
  std::map<std::string, std::string> files = {
      {kFile, "include: [sub/compose.yaml]\nservices: {a: {image: x, depends_on: [b]}}"},
      {"/work/demo/sub/compose.yaml", "services: {b: {image: 'y:${T}', volumes: ['./d:/d'], env_file: e}}"},
      {"/work/demo/sub/.env", "T=7"},
      {"/work/demo/sub/e", "Q=${T}"}};
  EXPECT_EQ(at(files, "services/b/image"), R"("y:7")");
  EXPECT_EQ(at(files, "services/b/environment"), R"({"Q":"7"})");
  EXPECT_NE(at(files, "services/b/volumes").find("/work/demo/sub/d"), std::string::npos);
  files[kFile] = "include: [{path: sub/compose.yaml, project_directory: .}]\nservices: {b: {image: other}}";
  files["/work/demo/e"] = "";
  EXPECT_NE(at(files, "").find("services.b is defined here"), std::string::npos);
  EXPECT_NE(at({{kFile, "include: [o.yaml]"}, {"/work/demo/o.yaml", "include: [compose.yaml]"}}, "")
                .find("include cycle"),
            std::string::npos);
  expect_error("include: [no.yaml]", "compose.yaml:1:11: include:");
}

TEST(Load, Profiles) {
  std::map<std::string, std::string> files = {
      {kFile,
       "services: {a: {image: x}, b: {image: y, profiles: [p]}, c: {image: z, profiles: [p, q], depends_on: "
       "[d]}, d: {image: w, profiles: [q]}}"}};
  auto names = [&](void (*change)(LoadRequest&)) {
    FakeFiles fake(files);
    if (change) change(fake.request);
    auto project = fake.load();
    if (!project) return project.error().text();
    std::string all;
    for (const auto& n : project->service_names()) all += n;
    return all;
  };
  EXPECT_EQ(names(nullptr), "a");
  EXPECT_EQ(names([](LoadRequest& r) { r.profiles = {"*"}; }), "abcd");
  EXPECT_EQ(names([](LoadRequest& r) { r.environment["COMPOSE_PROFILES"] = "q"; }), "acd");
  EXPECT_EQ(names([](LoadRequest& r) { r.services = {"c"}; }), "acd");
  EXPECT_NE(names([](LoadRequest& r) { r.profiles = {"p"}; }).find("undefined service \"d\""),
            std::string::npos);
}

TEST(Load, Names) {
  EXPECT_EQ(at({{kFile, "services: {}"}}, "name", [](LoadRequest& r) { r.project_name = "p-1"; }),
            R"("p-1")");
  EXPECT_NE(at({{kFile, "services: {}"}}, "", [](LoadRequest& r) { r.project_name = "P"; })
                .find("invalid project name"),
            std::string::npos);
  EXPECT_EQ(at({{kFile, "name: n\nservices: {}"}}, "name",
               [](LoadRequest& r) { r.environment["COMPOSE_PROJECT_NAME"] = "e"; }),
            R"("e")");
  EXPECT_EQ(normal_name("My App.2"), "myapp2");
  EXPECT_EQ(normal_name("-_x"), "x");
  EXPECT_EQ(at({{kFile, "services: {a: {image: 'i:$COMPOSE_PROJECT_NAME'}}"}}, "services/a/image"),
            R"("i:demo")");
}

TEST(Hash, OnlyWhatMakesAContainerCounts) {
  auto hash = [](const std::string& text) {
    FakeFiles fake(std::map<std::string, std::string>{
        {kFile, "services: {a: {image: x, " + text + "}, b: {image: y}}"}});
    auto project = fake.load();
    EXPECT_TRUE(project) << project.error().text();
    return *service_hash(*project, *project->service("a"));
  };
  std::string plain = hash("cpus: 1");
  EXPECT_EQ(plain, hash("cpus: 1.0"));
  EXPECT_EQ(plain, hash("cpus: 1, scale: 3"));
  EXPECT_EQ(plain, hash("cpus: 1, depends_on: [b]"));
  EXPECT_EQ(plain, hash("cpus: 1, deploy: {replicas: 2, update_config: {order: start-first}}"));
  EXPECT_EQ(plain, hash("cpus: 1, x-note: hello"));
  EXPECT_NE(plain, hash("cpus: 2"));
  EXPECT_NE(plain, hash("cpus: 1, environment: [A=1]"));
  EXPECT_EQ(hash("environment: {A: 1, B: 2}"), hash("environment: [B=2, A=1]"));
}

TEST(Canonical, DurationsAndSizes) {
  EXPECT_EQ(duration_text(*duration_of("1h")), "1h0m0s");
  EXPECT_EQ(duration_text(*duration_of("1.5s")), "1.5s");
  EXPECT_EQ(duration_text(*duration_of("10us")), "10\xc2\xb5s");
  for (const char* bad : {"", "5", "1x", "s", "1.2.3s", "-1s", "1m30"}) EXPECT_FALSE(duration_of(bad)) << bad;
  EXPECT_EQ(*size_of("1k"), 1024);
  EXPECT_EQ(*size_of("2 MB"), 2 << 20);
  EXPECT_EQ(*size_of("1.5GiB"), 3LL << 29);
  EXPECT_EQ(*size_of("-1"), -1);
  for (const char* bad : {"", "x", "1q", "1kbb", "0x10", "1e30t", "nan"}) EXPECT_FALSE(size_of(bad)) << bad;
}

}  // namespace
}  // namespace onggi::stack
