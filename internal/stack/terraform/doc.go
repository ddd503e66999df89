// Package terraform reads the plain cases of a Terraform configuration (HCL) and
// gives the same tree of resources that a CloudFormation template would be, so
// that everything after it is the ordinary path of stack.
//
// It understands variables with defaults and tfvars, locals, count, for_each,
// dynamic blocks, local modules, most functions, and the resource types that
// WebSocket applications are made of. References between resources become Ref and
// Fn::GetAtt, also inside strings, jsonencode and templatefile.
//
// Promises:
//   - Nothing panics, nothing is fetched, no provider is started: files are read
//     through [Config].Read.
//   - What is not understood is a [cfn.Problem] with file and line; nothing is
//     left out in silence.
//   - Values come out as Terraform would give them. Where a value exists only
//     after `apply` (an id, an ARN) it is the local one; random_* resources give a
//     value that depends on their name alone.
//
// How: while expressions are evaluated, an attribute that is known only to stack
// is a marked text; once a value is complete, marks become references.
package terraform
