// SQLite behind Result: one connection, statements that finalise themselves, transactions that roll back.
//
// Set-up of every connection: WAL with synchronous NORMAL (a power cut may lose the last transactions, never
// the database), the WAL file kept and not checkpointed on close (a short command would pay for it), a busy
// timeout, so that two commands at once wait for each other instead of failing.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

struct sqlite3;
struct sqlite3_stmt;

namespace onggi::image {

class Database;

// A prepared statement. Parameters count from 1, columns from 0.
class Statement {
 public:
  Statement(Statement&& other) noexcept;
  Statement& operator=(Statement&& other) noexcept;
  ~Statement();

  Statement& bind(int index, std::string_view text);
  Statement& bind(int index, int64_t value);
  // True: a row is there. False: done; the statement is reset and its parameters stay.
  Result<bool> step();
  // Steps to the end.
  Result<> run();

  [[nodiscard]] std::string text(int column) const;
  [[nodiscard]] int64_t number(int column) const;
  [[nodiscard]] bool is_null(int column) const;

 private:
  friend class Database;
  Statement(sqlite3* db, sqlite3_stmt* statement) : db_(db), statement_(statement) {}
  sqlite3* db_ = nullptr;
  sqlite3_stmt* statement_ = nullptr;
};

class Database {
 public:
  // Opens or creates the file. The path is the caller's; SQLite takes no descriptors.
  static Result<Database> open(const std::string& path, bool create);
  Database(Database&& other) noexcept;
  Database& operator=(Database&& other) noexcept;
  ~Database();

  Result<> exec(const char* sql);
  Result<Statement> prepare(std::string_view sql);
  // The first column of the first row; `fallback` without a row.
  Result<int64_t> number(std::string_view sql, int64_t fallback = 0);
  // Rows that the last statement changed.
  [[nodiscard]] int64_t changes() const;
  // Empties the write-ahead log when it has grown beyond `bytes`: whoever opens the database alone reads all
  // of it first. It syncs, so it is for work that nobody waits for.
  void shorten_log(int64_t bytes);

 private:
  explicit Database(sqlite3* db) : db_(db) {}
  sqlite3* db_ = nullptr;
};

// BEGIN IMMEDIATE ... COMMIT; the destructor rolls back what was not committed.
class Transaction {
 public:
  static Result<Transaction> begin(Database& db);
  Transaction(Transaction&& other) noexcept : db_(other.db_) { other.db_ = nullptr; }
  Transaction& operator=(Transaction&&) = delete;
  ~Transaction();
  Result<> commit();

 private:
  explicit Transaction(Database* db) : db_(db) {}
  Database* db_;
};

}  // namespace onggi::image
