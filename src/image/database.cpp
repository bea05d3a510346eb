#include "image/database.h"

#include <sqlite3.h>
#include <sys/stat.h>

#include <utility>

namespace onggi::image {

namespace {

constexpr int kBusyMs = 20'000;  // longer than any transaction of ours, which touch no files

Error db_error(sqlite3* db, std::string_view doing, int code) {
  std::string text = "image database: " + std::string(doing) + ": ";
  text += db ? sqlite3_errmsg(db) : sqlite3_errstr(code);
  switch (code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return Error::busy(text + " (another command has held it for 20 s)");
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return {ErrorKind::kInternal, text + "; move the 'images' directory aside and pull the images again"};
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
      return {ErrorKind::kPermission, std::move(text), EACCES};
    case SQLITE_FULL:
      return {ErrorKind::kOs, text + "; free some disk space", ENOSPC};
    default:
      return {ErrorKind::kOs, std::move(text), EIO};
  }
}

}  // namespace

Statement::Statement(Statement&& other) noexcept
    : db_(other.db_), statement_(std::exchange(other.statement_, nullptr)) {}
Statement& Statement::operator=(Statement&& other) noexcept {
  std::swap(statement_, other.statement_);
  std::swap(db_, other.db_);
  return *this;
}
Statement::~Statement() { sqlite3_finalize(statement_); }

// Parameters can only be bound before the first step: binding again begins anew.
static void begin_anew(sqlite3_stmt* statement) {
  if (sqlite3_stmt_busy(statement)) sqlite3_reset(statement);
}

Statement& Statement::bind(int index, std::string_view text) {
  begin_anew(statement_);
  sqlite3_bind_text(statement_, index, text.data() ? text.data() : "", static_cast<int>(text.size()),
                    SQLITE_TRANSIENT);
  return *this;
}
Statement& Statement::bind(int index, int64_t value) {
  begin_anew(statement_);
  sqlite3_bind_int64(statement_, index, value);
  return *this;
}

Result<bool> Statement::step() {
  int code = sqlite3_step(statement_);
  if (code == SQLITE_ROW) return true;
  Error error = code == SQLITE_DONE ? Error::internal("") : db_error(db_, sqlite3_sql(statement_), code);
  sqlite3_reset(statement_);
  if (code == SQLITE_DONE) return false;
  return fail(std::move(error));
}

Result<> Statement::run() {
  while (TRY(step())) {
  }
  return {};
}

std::string Statement::text(int column) const {
  const void* data = sqlite3_column_blob(statement_, column);
  auto size = static_cast<size_t>(sqlite3_column_bytes(statement_, column));
  return data ? std::string(static_cast<const char*>(data), size) : std::string();
}
int64_t Statement::number(int column) const { return sqlite3_column_int64(statement_, column); }
bool Statement::is_null(int column) const { return sqlite3_column_type(statement_, column) == SQLITE_NULL; }

Database::Database(Database&& other) noexcept : db_(std::exchange(other.db_, nullptr)) {}
Database& Database::operator=(Database&& other) noexcept {
  std::swap(db_, other.db_);
  return *this;
}
Database::~Database() { sqlite3_close_v2(db_); }

Result<Database> Database::open(const std::string& path, bool create) {
  sqlite3* raw = nullptr;
  int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
  int code = sqlite3_open_v2(path.c_str(), &raw, flags | (create ? SQLITE_OPEN_CREATE : 0), nullptr);
  Database db(raw);
  if (code != SQLITE_OK) return fail(db_error(raw, "open '" + path + "'", code));
  sqlite3_busy_timeout(raw, kBusyMs);
  sqlite3_db_config(raw, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
  sqlite3_db_config(raw, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  int keep = 1;
  sqlite3_file_control(raw, nullptr, SQLITE_FCNTL_PERSIST_WAL, &keep);
  TRY_VOID(db.exec("PRAGMA synchronous=NORMAL"));
  return db;
}

Result<> Database::exec(const char* sql) {
  int code = sqlite3_exec(db_, sql, nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) return fail(db_error(db_, sql, code));
  return {};
}

Result<Statement> Database::prepare(std::string_view sql) {
  sqlite3_stmt* statement = nullptr;
  int code = sqlite3_prepare_v2(db_, sql.data(), static_cast<int>(sql.size()), &statement, nullptr);
  if (code != SQLITE_OK) return fail(db_error(db_, sql, code));
  return Statement(db_, statement);
}

Result<int64_t> Database::number(std::string_view sql, int64_t fallback) {
  Statement s = TRY(prepare(sql));
  if (!TRY(s.step())) return fallback;
  return s.number(0);
}

void Database::shorten_log(int64_t bytes) {
  const char* file = sqlite3_db_filename(db_, "main");
  struct stat st;
  if (!file || ::stat(sqlite3_filename_wal(file), &st) < 0 || st.st_size <= bytes) return;
  // Refused while somebody reads: the next sweep tries again.
  (void)sqlite3_wal_checkpoint_v2(db_, nullptr, SQLITE_CHECKPOINT_TRUNCATE, nullptr, nullptr);
}

int64_t Database::changes() const { return sqlite3_changes64(db_); }

Result<Transaction> Transaction::begin(Database& db) {
  TRY_VOID(db.exec("BEGIN IMMEDIATE"));
  return Transaction(&db);
}
Transaction::~Transaction() {
  if (db_) (void)db_->exec("ROLLBACK");
}
Result<> Transaction::commit() {
  TRY_VOID(db_->exec("COMMIT"));
  db_ = nullptr;
  return {};
}

}  // namespace onggi::image
