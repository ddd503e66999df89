//go:build !race

package connapi_test

const raceEnabled = false
