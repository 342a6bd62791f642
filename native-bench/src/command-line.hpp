// Flags of the form `--name value`, read once at start; whatever is wrong with them ends the program with words and status 2.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>
#include <vector>

class CommandLine {
 public:
  CommandLine(int count, char **words, const char *usage) : usage_(usage) {
    for (int i = 1; i < count; i += 2) {
      const std::string word = words[i];
      if (word == "--help" || word == "-h") {
        std::printf("%s", usage);
        std::exit(0);
      }
      if (word.rfind("--", 0) != 0) fail("There is no argument " + word + ", only flags.");
      if (i + 1 == count) fail(word + " wants a value.");
      values_[word.substr(2)].push_back(words[i + 1]);
    }
  }

  std::string text(const std::string &name, const std::string &fallback) {
    const auto values = list(name);
    if (values.size() > 1) fail("--" + name + " is said more than once.");
    return values.empty() ? fallback : values[0];
  }

  double number(const std::string &name, double fallback, double min, double max) {
    const std::string said = text(name, "");
    if (said.empty()) return fallback;
    char *end = nullptr;
    const double value = std::strtod(said.c_str(), &end);
    if (*end != '\0' || !(value >= min && value <= max)) {
      char range[80];
      std::snprintf(range, sizeof range, " wants a number from %g to %g, not ", min, max);
      fail("--" + name + range + said + ".");
    }
    return value;
  }

  std::vector<std::string> list(const std::string &name) {
    const auto found = values_.find(name);
    if (found == values_.end()) return {};
    auto values = found->second;
    values_.erase(found);
    return values;
  }

  /// To be called when all flags were read: those that nobody asked for do not exist.
  void refuseOthers() {
    if (!values_.empty()) fail("There is no flag --" + values_.begin()->first + ".");
  }

  [[noreturn]] void fail(const std::string &message) const {
    std::fprintf(stderr, "%s\n%s", message.c_str(), usage_);
    std::exit(2);
  }

 private:
  const char *usage_;
  std::map<std::string, std::vector<std::string>> values_;
};
