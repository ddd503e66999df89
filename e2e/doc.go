// Package e2e proves the binary from outside: it builds cmd/livegate, runs it as a
// user would and drives it with clients that other people wrote: Node's ws and
// wscat, the AWS SDKs for JavaScript (v2, v3), Python and Go, and Chromium.
//
// The tests know the documented surface only: the command line, the JSON of
// `livegate status`, the wire. They import nothing of the project, so that
// what they prove holds for strangers too.
//
// A tool that is missing on the machine skips its tests and says so. With CI=true
// a missing Node or npm is a failure. npm packages (clients/package-lock.json) and
// the SDKs that Livegate installs are cached in the user's cache directory
// under livegate-e2e, or in $LIVEGATE_E2E_CACHE; $LIVEGATE_E2E_BIN names a binary
// to test instead of building one.
package e2e
