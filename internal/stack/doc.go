// Package stack turns a template into the application the engines run: it finds
// the template and its parameters, resolves every resource and fills a
// [model.App].
//
// Promises:
//   - [Load] fails only when a file cannot be read. Everything wrong with a
//     template is a [Finding] with file and line; findings come sorted.
//   - Nothing that was declared is ignored in silence: a resource is loaded,
//     named in one note as having no effect here, or named in a warning as not
//     supported yet. It is an error only if something that runs needs it.
//   - The final stack counts as deployed, whatever DependsOn says: a Deployment
//     that was created before some routes would be an accident of ordering.
//   - Ids and generated names depend only on stack name and logical id, so they
//     survive restarts; every Ref and GetAtt yields a value in AWS's shape, also
//     for types that no engine serves.
//
// It reads files and starts nothing. The language itself is cfn's.
package stack
