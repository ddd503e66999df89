// Package durability checks, from outside, what `livegate dev` promises about its
// tables: what was acknowledged survives SIGKILL at any moment, and nothing is
// ever half there.
//
//	go test ./conformance/durability -v                 # ten kills, for CI
//	go test ./conformance/durability -v -timeout 0 -kills 200 -seed 7
//
// The test builds the real program, runs it on a template with tables, and lets
// several clients put, overwrite, delete, count up under a condition, and change
// two tables in one transaction, all over the DynamoDB API. At a random moment it
// kills the program and starts it again on the same data. Then it reads
// everything back and holds it against a ledger that the clients keep on their
// side: what was answered must be there, what was under way may be there or not,
// wholly, and nothing else may be. It does so through the table and through its
// index.
package durability
