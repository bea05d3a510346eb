// One place where containers ask for names: a network's little namespace of its own, or the namespace of a
// container that is on no bridge.
//
// The namespace lives as long as the sockets in it; with them go its link and its place on the bridge.
// Nothing of it takes a port of the host, and nobody but the network's containers can reach it.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "keeper/forwarder.h"
#include "keeper/loop.h"
#include "keeper/name_table.h"

namespace onggi::keeper {

class NameServer {
 public:
  // On a network: makes the namespace, a link to `bridge`, and listens on the resolver's address.
  static Result<std::unique_ptr<NameServer>> on_network(Loop& loop, NameTable& table, Forwarder& forwarder,
                                                        const NamedNetwork& network,
                                                        const std::string& bridge);
  // In the network namespace of the container whose process is `pid`; all questions there are its own.
  static Result<std::unique_ptr<NameServer>> in_container(Loop& loop, NameTable& table, Forwarder& forwarder,
                                                          const std::string& container, int pid);
  ~NameServer();
  // Called before a question is looked up: brings the table up to date.
  void before_answer(std::function<void()> hook) { refresh_ = std::move(hook); }
  // Closes connections that say nothing.
  void expire();

 private:
  struct Connection;
  NameServer(Loop& loop, NameTable& table, Forwarder& forwarder);
  Result<> listen(const std::string& address);
  Result<> watch();
  void read_datagrams();
  void accept_connections();
  void read_connection(uint64_t key, uint32_t events);
  void write_connection(Connection& c);
  void close_connection(uint64_t key);
  // Calls `reply` once, now or later, unless the packet deserves none.
  void answer(std::string_view packet, const IpAddress& from, bool stream,
              std::function<void(std::string)> reply);

  Loop& loop_;
  NameTable& table_;
  Forwarder& forwarder_;
  std::string network_, container_;
  std::function<void()> refresh_;
  UniqueFd datagrams_, streams_;
  std::map<uint64_t, std::unique_ptr<Connection>> connections_;
  uint64_t next_key_ = 1;
  // Replies that come late find out whether this still exists.
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace onggi::keeper
