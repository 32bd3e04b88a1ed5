#!/usr/bin/python3
"""A real PyKMIP server for the tests, in the foreground.

Usage: kmip_server.py PORT DIR DATABASE VERSIONS DELAY

DIR holds ca.pem, server.pem, server.key; VERSIONS are those that it speaks ("1.2,1.3"); DELAY, in seconds, is waited
before each answer. It says "ready" once it listens. Where DIR holds a file "honest", which names keys by their ids, it gives
all others right the first time and with other bytes from then on. Where it holds a file "cut", which names an operation and,
behind a colon, may name a port, the connection ends instead of the answer to one, on that server. Where it holds a file
"rival", another key of the same name is made right before one that is asked for, which is made as well ("twice") or refused
("once"); its id is added to the file.
"""
import collections
import logging
import os
import ssl
import sys
import threading
import time

sys.dont_write_bytecode = True

from kmip.core import exceptions
from kmip.core.messages import contents
from kmip.services.server import engine, server, session


def main():
    port, directory, database, versions, delay = sys.argv[1:]
    spoken = [contents.ProtocolVersion(*map(int, version.split("."))) for version in versions.split(",")]
    begin, process = engine.KmipEngine.__init__, engine.KmipEngine.process_request
    get, create = engine.KmipEngine._process_get, engine.KmipEngine._process_create
    send = session.KmipSession._send_response
    given, this_thread = collections.Counter(), threading.local()  # a session has a thread of its own

    def begin_with_versions(self, *words, **named):
        begin(self, *words, **named)
        self._protocol_versions = spoken

    def told(name):
        """What a file of the tests says, or nothing."""
        if not os.path.exists(f"{directory}/{name}"):
            return ""
        with open(f"{directory}/{name}") as file:
            return file.read()

    def process_late(self, request, *words, **named):
        time.sleep(float(delay))
        this_thread.operation = request.batch_items[0].operation.value.name
        return process(self, request, *words, **named)

    def send_or_end(self, *words):
        if told("cut") in (this_thread.operation, f"{this_thread.operation}:{port}"):
            raise exceptions.ConnectionClosed()
        send(self, *words)

    def get_or_lie(self, payload):
        answer = get(self, payload)
        if not os.path.exists(f"{directory}/honest"):
            return answer
        honest = told("honest").split()
        given[answer.unique_identifier] += 1
        if answer.unique_identifier not in honest and given[answer.unique_identifier] > 1:
            material = answer.secret.key_block.key_value.key_material
            material.value = material.value[::-1]
        return answer

    def create_behind_a_rival(self, payload):
        how = told("rival")
        if how:
            with open(f"{directory}/rival", "w") as file:
                file.write(f"{how} {create(self, payload).unique_identifier}")
        if how == "once":
            raise exceptions.InvalidField("there is a key of this name")
        return create(self, payload)

    engine.KmipEngine._process_create = create_behind_a_rival
    engine.KmipEngine._process_get = get_or_lie
    engine.KmipEngine.__init__ = begin_with_versions
    engine.KmipEngine.process_request = process_late
    session.KmipSession._send_response = send_or_end
    logging.getLogger().setLevel(logging.WARNING)
    this = server.KmipServer(
        hostname="127.0.0.1", port=int(port), certificate_path=f"{directory}/server.pem",
        key_path=f"{directory}/server.key", ca_path=f"{directory}/ca.pem", auth_suite="TLS1.2",
        config_path=None, log_path=f"{directory}/log-{port}/server.log", policy_path=directory,
        enable_tls_client_auth=True, tls_cipher_suites="TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        logging_level="WARNING", database_path=database)
    with this:
        listen = this._socket.listen

        def listen_and_say(*words):
            listen(*words)
            print("ready", flush=True)

        this._socket.listen = listen_and_say
        this.serve()


if __name__ == "__main__":
    assert ssl.HAS_TLSv1_2
    main()
