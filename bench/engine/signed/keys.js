// The credentials that the gateway gave this worker: the generator signs with them.
exports.handler = async () => ({
  statusCode: 200,
  body: JSON.stringify({
    key: process.env.AWS_ACCESS_KEY_ID,
    secret: process.env.AWS_SECRET_ACCESS_KEY,
    token: process.env.AWS_SESSION_TOKEN || '',
  }),
})
