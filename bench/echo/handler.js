// Both servers load this file.
exports.connect = async () => ({ statusCode: 200 });

// Sends every message back as it came.
exports.echo = async (event) => ({ statusCode: 200, body: event.body });
