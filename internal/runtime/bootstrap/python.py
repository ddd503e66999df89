"""The Python bootstrap: loads the handler named by _HANDLER from LAMBDA_TASK_ROOT
and runs one invocation at a time. bootstrap.go describes the frames. Written for
every Python from 3.8 on."""
import importlib
import io
import json
import logging
import os
import struct
import sys
import threading
import time
import traceback

IN = 3
OUT = 4
MAX_RESPONSE = 6 * 1024 * 1024
MAX_LOG = 256 * 1024

_lock = threading.RLock()
_leave = os._exit


_forked = False


def _in_child():
    """Runs in a child that was forked off (multiprocessing): frames of two writers
    would tear each other apart, so its words go to the plain streams."""
    global _forked
    _forked = True
    os.close(IN)
    os.close(OUT)


os.register_at_fork(after_in_child=_in_child)


def _write(fd, data):
    n = os.write(fd, data)
    while n < len(data):
        data = data[n:]
        n = os.write(fd, data)


def _send(kind, body):
    if _forked:
        if kind != "L":
            _leave(1)  # a child that came back from the handler
        _write(int(body[1:2]), body[2:])
        return
    data = struct.pack(">IB", len(body) + 1, ord(kind)) + body
    with _lock:
        try:
            _write(OUT, data)
        except OSError:
            _leave(1)  # livegate is gone


_buffer = b""


def _read(n):
    """n bytes from descriptor 3; end of file ends the process."""
    global _buffer
    while len(_buffer) < n:
        part = os.read(IN, max(65536, n - len(_buffer)))
        if not part:
            _leave(0)
        _buffer += part
    data, _buffer = _buffer[:n], _buffer[n:]
    return data


class _Log(io.RawIOBase):
    def __init__(self, mark, fd):
        self._mark, self._fd = mark, fd

    def writable(self):
        return True

    def fileno(self):
        return self._fd

    def write(self, data):
        data = bytes(data)
        body = data[:MAX_LOG]
        _send("L", self._mark + body)
        if len(data) > MAX_LOG:
            _send("L", self._mark + b" \xe2\x80\xa6 (%d more)\n" % (len(data) - MAX_LOG))
        return len(data)


def _stream(mark, fd):
    return io.TextIOWrapper(io.BufferedWriter(_Log(mark, fd), MAX_LOG), "utf-8", "backslashreplace", line_buffering=True)


sys.stdout = sys.__stdout__ = _stream(b"i1", 1)
sys.stderr = sys.__stderr__ = _stream(b"w2", 2)


def _flush():
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:  # the user may have replaced or closed it
            pass


class _Handler(logging.Handler):
    """What the root logger of a Lambda function has: one event per record."""

    def emit(self, record):
        try:
            mark = b"e" if record.levelno >= logging.ERROR else b"w" if record.levelno >= logging.WARNING else b"i"
            _flush()
            _send("L", mark + b"1" + (self.format(record) + "\n").encode("utf-8", "backslashreplace")[:MAX_LOG])
        except Exception:
            self.handleError(record)


_root = _Handler()
_root.setFormatter(logging.Formatter("[%(levelname)s]\t%(message)s"))
logging.getLogger().addHandler(_root)


class _Named(Exception):
    """An error with a Runtime.* type."""

    def __init__(self, kind, message):
        Exception.__init__(self, message)
        self.kind = kind


def _error(err, own_frames=1):
    kind = err.kind if isinstance(err, _Named) else type(err).__name__
    frames = [] if isinstance(err, _Named) else traceback.extract_tb(err.__traceback__)[own_frames:]
    trace = []
    for f in frames:
        text = '  File "%s", line %d, in %s\n' % (f.filename, f.lineno or 0, f.name)
        trace.append(text + ("    %s\n" % f.line if f.line else ""))
    return {"errorMessage": str(err), "errorType": kind, "stackTrace": trace}


def _log_error(heading, error):
    _flush()
    text = "%s\n%s: %s\n%s" % (heading, error["errorType"], error["errorMessage"], "".join(error["stackTrace"]))
    _send("L", b"e2" + text.encode("utf-8", "backslashreplace")[:MAX_LOG])


def _dump(error):
    body = json.dumps(error).encode("utf-8")
    if len(body) > MAX_RESPONSE:
        body = json.dumps(dict(error, errorMessage=error["errorMessage"][:65536], stackTrace=[])).encode("utf-8")
    return body


class _Identity(object):
    cognito_identity_id = None
    cognito_identity_pool_id = None


class _Client(object):
    def __init__(self, data):
        for name in ("installation_id", "app_title", "app_version_name", "app_version_code", "app_package_name"):
            setattr(self, name, data.get(name))


class _ClientContext(object):
    def __init__(self, data):
        self.custom = data.get("custom")
        self.env = data.get("env")
        self.client = _Client(data.get("client") or {})


class _Context(object):
    def __init__(self, request_id, deadline, arn, client):
        env = os.environ
        self.aws_request_id = request_id
        self.invoked_function_arn = arn
        self.function_name = env.get("AWS_LAMBDA_FUNCTION_NAME")
        self.function_version = env.get("AWS_LAMBDA_FUNCTION_VERSION")
        self.memory_limit_in_mb = env.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE")
        self.log_group_name = env.get("AWS_LAMBDA_LOG_GROUP_NAME")
        self.log_stream_name = env.get("AWS_LAMBDA_LOG_STREAM_NAME")
        self.identity = _Identity()
        self.client_context = None
        if client:
            try:
                self.client_context = _ClientContext(json.loads(client))
            except (ValueError, AttributeError):
                pass
        self._deadline = deadline

    def get_remaining_time_in_millis(self):
        return max(0, int(self._deadline - time.time() * 1000))

    def log(self, text):
        sys.stdout.write(str(text))

    def __repr__(self):
        return "LambdaContext(aws_request_id=%s)" % self.aws_request_id


def _encode(value):
    import decimal

    if isinstance(value, decimal.Decimal):
        return float(value)
    raise TypeError("Object of type %s is not JSON serializable" % type(value).__name__)


def _load(full):
    name, _, attribute = full.rpartition(".")
    if not name or not attribute:
        raise _Named("Runtime.MalformedHandlerName", "Bad handler '%s': expected MODULE.FUNCTION" % full)
    name = name.replace("/", ".").strip(".")
    # Not import_module's exception for a module inside the user's own imports:
    # that one names what is really missing, which is what the message must say.
    try:
        module = importlib.import_module(name)
    except ImportError as err:
        error = _error(err)
        error["errorType"] = "Runtime.ImportModuleError"
        error["errorMessage"] = "Unable to import module '%s': %s" % (name, err)
        return None, error
    except SyntaxError as err:
        error = _error(err)
        error["errorType"] = "Runtime.UserCodeSyntaxError"
        error["errorMessage"] = "Syntax error in module '%s': %s" % (name, err)
        return None, error
    handler = getattr(module, attribute, None)
    if not callable(handler):
        raise _Named("Runtime.HandlerNotFound", "Handler '%s' missing on module '%s'" % (attribute, name))
    return handler, None


def _invoke(handler, head, body):
    request_id, deadline, trace, arn, client = (head.split("\n", 4) + [""] * 5)[:5]
    if trace:
        os.environ["_X_AMZN_TRACE_ID"] = trace
    try:
        event = json.loads(body)
        value = handler(event, _Context(request_id, int(deadline), arn, client))
    except (Exception, GeneratorExit) as err:
        error = _error(err)
        _log_error("[ERROR] " + request_id, error)
        return "E", _dump(error)
    try:
        answer = json.dumps(value, ensure_ascii=False, default=_encode).encode("utf-8")
    except Exception as err:
        error = _error(_Named("Runtime.MarshalError", "Unable to marshal response: %s" % err))
        _log_error("[ERROR] " + request_id, error)
        return "E", _dump(error)
    if len(answer) > MAX_RESPONSE:
        message = "Response payload size (%d bytes) exceeded maximum allowed payload size (%d bytes)." % (len(answer), MAX_RESPONSE)
        return "E", _dump(_error(_Named("Function.ResponseSizeTooLarge", message)))
    return "O", answer


def _status(err):
    """The exit status of a SystemExit, as the interpreter itself would choose it."""
    if err.code is None:
        return 0
    return err.code if isinstance(err.code, int) else 1


def main():
    # The handler's own directory replaces ours in front, as in Lambda.
    sys.path[0] = os.environ["LAMBDA_TASK_ROOT"]
    sys.argv = [os.environ["_HANDLER"]]
    try:
        handler, error = _load(os.environ["_HANDLER"])
    except Exception as err:
        handler, error = None, _error(err)
    if error:
        _log_error("[ERROR] init", error)
        _send("F", _dump(error))
        _leave(1)
    _flush()
    _send("R", b"")
    while True:
        (length,) = struct.unpack(">I", _read(4))
        frame = _read(length)
        (n,) = struct.unpack(">H", frame[1:3])
        kind, answer = _invoke(handler, frame[3 : 3 + n].decode("utf-8"), frame[3 + n :])
        _flush()
        _send(kind, answer)


try:
    main()
except SystemExit as err:
    _flush()
    _leave(_status(err) & 0xFF)
except KeyboardInterrupt:
    _flush()
    _leave(130)
