//go:build race

package main

// raceDetector says that podlet, which these tests run as a copy of themselves, takes several times the memory.
const raceDetector = true
