"""What the tests' own web servers have in common: one thread, a port of loopback that the system picks."""

import http.server
import threading


class LocalServer:
    """`with` serves until the end; subclasses have `handler()`, the request handler's class. `host` is "127.0.0.1:PORT"
    from the start of `with`."""

    host = None

    def __enter__(self):
        handler = self.handler()
        handler.log_message = lambda *_: None
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.host = f"127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
