// Package version says what was built.
package version

var Version = "unset"

// Of names a program and its version.
func Of(program string) string { return program + " " + Version }
