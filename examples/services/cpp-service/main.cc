#include <fmt/format.h>

int main() { fmt::print("{} from C++\n", "hello"); }
