package main

import (
	"fmt"

	"example.org/monorepo/internal/version"
)

func main() { fmt.Println(version.Of("api")) }
