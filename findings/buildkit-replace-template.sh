#!/usr/bin/env bash
# A Dockerfile's ${name//pattern/text} puts the text in the place of each match, as bash does. BuildKit reads the text as a
# template of Go's regular expressions: $0 is the match, $$ one dollar sign, and every other name is nothing. With one
# slash, which replaces the first match alone, the text is plain. No message says so.
# shellcheck disable=SC2016  # dollar signs are for others to read
# shellcheck source=findings/lib.bash
source "$(dirname "${BASH_SOURCE[0]}")/lib.bash"
go=$("$(dirname "${BASH_SOURCE[0]}")/../tests/clients/go-tool")

mkdir "$work/expand"
cd "$work/expand"
cat >main.go <<'GO'
package main

import (
	"fmt"
	"os"

	"github.com/moby/buildkit/frontend/dockerfile/shell"
)

func main() {
	env := shell.EnvsFromSlice(os.Args[2:])
	text, _, err := shell.NewLex('\\').ProcessWord(os.Args[1], env)
	if err != nil {
		text = "error: " + err.Error()
	}
	fmt.Println(text)
}
GO
export GOTOOLCHAIN=local GOFLAGS=-mod=mod GOWORK=off
"$go" mod init expand >"$work/log" 2>&1
{ "$go" get github.com/moby/buildkit@v0.34.2 && "$go" build -o expand .; } >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
"$go" list -m github.com/moby/buildkit

price='PRICE=$5 off' # what somebody gives as a build argument
say "expected: the price stands where XX was, with either operator: cost: \$5 off"
expect "one slash" "$(./expand '${T/XX/$PRICE}' 'T=cost: XX' "$price")" 'cost: $5 off'
expect "two slashes" "$(./expand '${T//XX/$PRICE}' 'T=cost: XX' "$price")" 'cost:  off'
expect "two slashes, \$0 in the text" "$(./expand '${T//XX/$P}' 'T=cost: XX' 'P=[$0]')" 'cost: [XX]'
expect "bash, two slashes" "$(T='cost: XX' bash -c 'P="\$5 off"; echo "${T//XX/$P}"')" 'cost: $5 off'
