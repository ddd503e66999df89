// Package frontdoor turns a project of another tool into something that stack
// can load: it runs the project's own packager when what that left behind is
// missing or older than its sources.
//
// [Prepare] knows the Serverless Framework (serverless.yml → .serverless) and the
// CDK (cdk.json → a cloud assembly). Any other path comes back as it was given.
//
// Promises:
//   - The project's own tool does the packaging: nothing here understands a
//     service or an app. A missing Serverless packager is installed into
//     Config.ToolDir, pinned, after Config.Say said so; a missing CDK is the user's to
//     install.
//   - Packagers run without credentials of the user's: no account is touched.
//   - What a packager needs changed (a plugin that is not installed, a key of a
//     later version) is changed in a copy of the configuration that is removed
//     again, and every change is a [Finding].
//   - A packager that hangs is stopped with its children when ctx ends.
//
// It starts processes and writes to the packager's output directory and to
// Config.DataDir and Config.ToolDir. It knows no template: stack reads what is there afterwards.
package frontdoor
