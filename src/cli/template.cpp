// Walks the tree. Every node costs a step and every output byte is counted, so that a template of nested
// ranges ends with an error instead of the machine's memory.
#include "cli/template.h"

#include "cli/template_tree.h"
#include "cli/template_value.h"

namespace onggi::cli {

namespace tmpl {
namespace {

enum class Flow : uint8_t { kOn, kBreak, kContinue };

class Run {
 public:
  Run(std::string_view text, Value root) : text_(text), root_(std::move(root)) {
    variables_.push_back({"$", root_});
  }

  Result<Flow> nodes(const std::vector<Node>& list, const Value& dot) {
    size_t scope = variables_.size();
    Flow flow = Flow::kOn;
    for (const auto& node : list) {
      flow = TRY(one(node, dot));
      if (flow != Flow::kOn) break;
    }
    variables_.resize(scope);
    return flow;
  }
  std::string take() { return std::move(out_); }

 private:
  struct Variable {
    std::string name;
    Value value;
  };

  [[nodiscard]] std::unexpected<Error> error(size_t at, const std::string& reason) const {
    return fail(template_error(text_, at, reason));
  }
  Result<> print(size_t at, const std::string& text) {
    if (out_.size() + text.size() > kMaxOutput) return error(at, "the output is over 64 MiB");
    out_ += text;
    return {};
  }

  Result<Flow> one(const Node& node, const Value& dot) {
    if (++steps_ > kMaxSteps) return error(node.at, "too many steps");
    switch (node.kind) {
      case Node::Kind::kText:
        TRY_VOID(print(node.at, node.text));
        return Flow::kOn;
      case Node::Kind::kBreak:
        return Flow::kBreak;
      case Node::Kind::kContinue:
        return Flow::kContinue;
      case Node::Kind::kRange:
        return range(node, dot);
      case Node::Kind::kPrint: {
        Value value = TRY(pipe(node.pipe, dot));
        TRY_VOID(needed(node.pipe.at, value));
        if (node.pipe.variables.empty()) TRY_VOID(print(node.at, to_text(value)));
        return Flow::kOn;
      }
      default:
        break;
    }
    size_t scope = variables_.size();
    Value value = TRY(pipe(node.pipe, dot));
    bool yes = truth(value);
    auto flow = nodes(yes ? node.body : node.otherwise, yes && node.kind == Node::Kind::kWith ? value : dot);
    variables_.resize(scope);
    return flow;
  }

  Result<Flow> range(const Node& node, const Value& dot) {
    size_t scope = variables_.size();
    Pipe const& p = node.pipe;
    Value over = TRY(commands(p, dot));
    TRY_VOID(needed(p.at, over));
    auto list = elements_of(over);
    if (!list) return error(p.at, list.error().text());
    for (auto& [key, value] : *list) {
      variables_.resize(scope);
      if (p.variables.size() == 2) TRY_VOID(assign(p, 0, key));
      if (!p.variables.empty()) TRY_VOID(assign(p, p.variables.size() - 1, value));
      Flow flow = TRY(nodes(node.body, value));
      if (flow == Flow::kBreak) break;
    }
    variables_.resize(scope);
    return list->empty() ? nodes(node.otherwise, dot) : Result<Flow>(Flow::kOn);
  }

  Result<> assign(const Pipe& p, size_t which, Value value) {
    const std::string& name = p.variables[which];
    if (p.declares) {
      variables_.push_back({name, std::move(value)});
      return {};
    }
    for (auto it = variables_.rbegin(); it != variables_.rend(); ++it)
      if (it->name == name) {
        it->value = std::move(value);
        return {};
      }
    return error(p.at, "undefined variable " + name);
  }

  Result<> needed(size_t at, const Value& value) {
    if (const auto* missing = std::get_if<Missing>(&value.data)) return error(at, missing->why);
    return {};
  }

  Result<Value> pipe(const Pipe& p, const Value& dot) {
    Value value = TRY(commands(p, dot));
    if (!p.variables.empty()) TRY_VOID(assign(p, 0, value));
    return value;
  }

  Result<Value> commands(const Pipe& p, const Value& dot) {
    Value value;
    const Value* before = nullptr;
    for (const auto& c : p.commands) {
      value = TRY(command(c, dot, before));
      before = &value;
    }
    return value;
  }

  Result<Value> command(const Command& c, const Value& dot, const Value* before) {
    if (++steps_ > kMaxSteps) return error(c.words[0].at, "too many steps");
    const Operand& first = c.words[0];
    if (first.kind == Operand::Kind::kFunction) return function(c, dot, before);
    // docker's one method with an argument: {{.Label "key"}}.
    if (first.kind == Operand::Kind::kDot && first.fields.size() == 1 && first.fields[0] == "Label" &&
        c.words.size() + (before ? 1 : 0) == 2)
      return label(c, dot, before);
    if (c.words.size() > 1 || before)
      return error(first.at, "'" + std::string(text_.substr(first.at, first.end - first.at)) +
                                 "' is a value and takes no arguments");
    return operand(first, dot);
  }

  // "a=1,b=2" of a table's Labels, or the map of a document.
  Result<Value> label(const Command& c, const Value& dot, const Value* before) {
    Value key = before ? *before : TRY(operand(c.words[1], dot));
    Value labels = member_of(dot, "Labels");
    TRY_VOID(needed(c.words[0].at, labels));
    const auto* name = std::get_if<std::string>(&key.data);
    if (!name) return error(c.words[0].at, "Label: a string is wanted, not " + kind_of(key));
    const auto* text = std::get_if<std::string>(&labels.data);
    if (!text) {
      Value found = member_of(labels, *name);
      return std::holds_alternative<Missing>(found.data) ? Value{Absent{}} : found;
    }
    for (size_t at = 0; at <= text->size();) {
      size_t end = std::min(text->find(',', at), text->size());
      std::string pair = text->substr(at, end - at);
      if (pair.starts_with(*name + "=")) return Value{pair.substr(name->size() + 1)};
      at = end + 1;
    }
    return Value{Absent{}};
  }

  Result<Value> function(const Command& c, const Value& dot, const Value* before) {
    const Operand& first = c.words[0];
    bool all = first.text == "and", either = first.text == "or";
    const Function* f = find_function(first.text);
    if (!f && !all && !either)
      return error(first.at,
                   "function \"" + first.text + "\" not defined (there are: " + function_names() + ")");
    std::vector<Value> args;
    for (size_t n = 1; n < c.words.size(); n++) {
      args.push_back(TRY(operand(c.words[n], dot)));
      // The first that decides it; what is behind is not looked at.
      if ((all && !truth(args.back())) || (either && truth(args.back()))) return args.back();
      bool judges = all || either || first.text == "not";
      if (!judges) TRY_VOID(needed(c.words[n].at, args.back()));
    }
    if (before) {
      if (!all && !either && first.text != "not") TRY_VOID(needed(first.at, *before));
      args.push_back(*before);
    }
    size_t least = f ? f->least : 1, most = f ? f->most : args.size();
    if (args.size() < least || args.size() > most)
      return error(first.at, "wrong number of arguments for " + first.text + ": " +
                                 std::to_string(args.size()) + ", wanted " +
                                 (args.size() < least ? std::to_string(least) : std::to_string(most)));
    if (!f) return args.back();
    auto value = f->call(args);
    if (!value) return error(first.at, value.error().text());
    return value;
  }

  Result<Value> operand(const Operand& o, const Value& dot) {
    Value value;
    switch (o.kind) {
      case Operand::Kind::kDot:
        value = dot;
        break;
      case Operand::Kind::kVariable: {
        bool found = false;
        for (auto it = variables_.rbegin(); it != variables_.rend() && !found; ++it)
          if (it->name == o.text) value = it->value, found = true;
        if (!found) return error(o.at, "undefined variable " + o.text);
        break;
      }
      case Operand::Kind::kString:
        value = {o.text};
        break;
      case Operand::Kind::kInt:
        value = {o.integer};
        break;
      case Operand::Kind::kFloat:
        value = {o.number};
        break;
      case Operand::Kind::kBool:
        value = {o.boolean};
        break;
      case Operand::Kind::kNil:
        return error(o.at, "nil is not a value to print or compare");
      case Operand::Kind::kPipe:
        value = TRY(pipe(*o.pipe, dot));
        break;
      case Operand::Kind::kFunction: {  // a function without arguments, as an argument: rejected by its count
        Command alone;
        Operand& word = alone.words.emplace_back();
        word.kind = o.kind, word.text = o.text, word.at = o.at, word.end = o.end;
        return function(alone, dot, nullptr);
      }
    }
    for (const auto& field : o.fields) {
      if (std::holds_alternative<Absent>(value.data)) return value;
      value = member_of(value, field);
    }
    return value;
  }

  std::string_view text_;
  Value root_;
  std::vector<Variable> variables_;
  std::string out_;
  size_t steps_ = 0;
};

}  // namespace
}  // namespace tmpl

Result<std::string> render_template(std::string_view text, JsonValue value) {
  auto tree = TRY(tmpl::parse_template(text));
  tmpl::Value root = tmpl::from_json(value);
  tmpl::Run run(text, root);
  (void)TRY(run.nodes(tree, root));
  return run.take();
}

}  // namespace onggi::cli
