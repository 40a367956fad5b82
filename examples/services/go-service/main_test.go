package main

import "testing"

func TestGreetingIsTheSameForOnePath(t *testing.T) {
	if greeting("/a") != greeting("/a") || greeting("/a") == greeting("/b") {
		t.Fail()
	}
}
