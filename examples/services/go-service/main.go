// A service that names each request.
package main

import (
	"flag"
	"fmt"
	"net/http"
	"os"

	"github.com/google/uuid"
)

func greeting(path string) string {
	return fmt.Sprintf("%s %s", uuid.NewSHA1(uuid.NameSpaceURL, []byte(path)), path)
}

func main() {
	check := flag.Bool("check", false, "print a greeting and leave")
	flag.Parse()
	if *check {
		fmt.Println(greeting("/check"))
		return
	}
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, greeting(r.URL.Path))
	})
	if err := http.ListenAndServe(":8080", nil); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
