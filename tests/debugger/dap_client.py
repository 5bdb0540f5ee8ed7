"""A client of the Debug Adapter Protocol for GDB's own server, `gdb -i dap`."""

import itertools
import json
import queue
import subprocess
import threading

SECONDS = 60


class DapClient:
    """Speaks to a GDB that it starts; used in a `with`."""

    def __init__(self, *command, environment):
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
        self._numbers = itertools.count(1)
        self._messages = queue.Queue()
        self._answers = {}
        self.events = []
        threading.Thread(target=self._read, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.wait()

    def send(self, command, **arguments):
        """Send a request; returns its number."""
        number = next(self._numbers)
        request = {"seq": number, "type": "request", "command": command, "arguments": arguments}
        data = json.dumps(request).encode()
        self._process.stdin.write(b"Content-Length: %d\r\n\r\n%s" % (len(data), data))
        self._process.stdin.flush()
        return number

    def answer(self, number):
        """The body of the answer to a request; fails if the request did."""
        while number not in self._answers:
            self._take()
        answer = self._answers.pop(number)
        assert answer["success"], answer
        return answer.get("body")

    def ask(self, command, **arguments):
        """Send a request and return its answer's body."""
        return self.answer(self.send(command, **arguments))

    def event(self, name, seconds=SECONDS):
        """The next event of a name; raises `queue.Empty` if there is nothing to read for so long."""
        while True:
            for event in self.events:
                if event["event"] == name:
                    self.events.remove(event)
                    return event["body"]
            self._take(seconds)

    def _take(self, seconds=SECONDS):
        message = self._messages.get(timeout=seconds)
        assert message is not None, "GDB has ended"
        if message["type"] == "event":
            self.events.append(message)
        else:
            self._answers[message["request_seq"]] = message

    def _read(self):
        while line := self._process.stdout.readline():
            name, _, size = line.partition(b":")
            if name.lower() == b"content-length":
                while self._process.stdout.readline().strip():
                    pass
                self._messages.put(json.loads(self._process.stdout.read(int(size))))
        self._messages.put(None)
