"""Supervisors of loops in C: uvloop and rloop, which have generic ones.

What a loop cannot do is in a table, and each entry is the loop's own error.
The suites of supervisors run on both, as far as that lets them.
"""

import json
import warnings

import pytest
from surroundings import PROGRAMS

pytestmark = pytest.mark.usefixtures("python")

NOT_IMPLEMENTED = "NotImplementedError: "
NO_FILE = "TypeError: 'socket' object cannot be interpreted as an integer"
NO_EAGER = "got an unexpected keyword argument 'eager_start'"
UNFIXED_TLS = "is not supported by start_tls()"

# What is done with a supervisor: what comes of it on uvloop and on rloop, part
# of the loop's error, or None if it works.
CALLS = {
    "create_connection": (None, None),
    "create_datagram_endpoint": (None, None),
    "subprocess_exec": (None, None),
    "run_in_executor": (None, None),
    "connect_accepted_socket": (None, NOT_IMPLEMENTED),
    "create_unix_server": (None, NOT_IMPLEMENTED),
    "create_unix_connection": (None, NOT_IMPLEMENTED),
    "create_server_with_ssl": (None, NOT_IMPLEMENTED),
    "start_tls": (None, NOT_IMPLEMENTED),
    "start_tls_of_the_loop": (UNFIXED_TLS, NOT_IMPLEMENTED),
    "sendfile": (NOT_IMPLEMENTED, NOT_IMPLEMENTED),
    "sock_sendfile": (NOT_IMPLEMENTED, NOT_IMPLEMENTED),
    "sock_sendto": (NOT_IMPLEMENTED, NOT_IMPLEMENTED),
    "sock_recvfrom": (NOT_IMPLEMENTED, NOT_IMPLEMENTED),
    "add_reader_of_a_socket": (None, NO_FILE),
    "result_of_remove_reader": ("AssertionError: None", None),
    "remove_signal_handler": (None, None),
    "abort_of_a_read_pipe": (NOT_IMPLEMENTED, "no attribute 'abort'"),
    "close_clients_of_a_server": ("no attribute 'close_clients'", None),
    "set_protocol_of_another_kind": (None, "protocol cannot be changed"),
    "eager_start": (None, NO_EAGER),
    # What the loop does wrong.
    "exit_of_a_callback": (None, "AssertionError: 0"),
    "close_of_a_server_alone": (None, "it ends its connections"),
    "close_of_a_descriptor": (None, "AssertionError: it is open"),
    "reset_of_a_peer": (None, "TimeoutError: "),
}
LOOPS = "uvloop", "rloop"


@pytest.mark.parametrize("loop", LOOPS)
def test_what_a_loop_lacks_is_its_own_error(run, loop):
    results = json.loads(run(PROGRAMS / "supervised_loop_calls.py", loop,
                             *CALLS))
    assert results.keys() == CALLS.keys()
    wrong = {}
    for call, expected in CALLS.items():
        part = expected[LOOPS.index(loop)]
        result = results[call]
        if result != "works" if part is None else part not in result:
            wrong[call] = result
    assert wrong == {}


def test_each_call_of_the_program_is_in_the_table():
    names = {line.split("(")[0].split()[-1] for line in
             (PROGRAMS / "supervised_loop_calls.py").read_text().splitlines()
             if line.startswith("    async def ")}
    assert names - {"connected"} == CALLS.keys()


# Test case of test_supervisor_io: the fewest tests that run on each loop.
# Calls in flight are handshakes of TLS, which rloop has not.
CASES = {
    "FailureMatrixTests": (7, 4),
    "NoFailureTests": (6, 2),
    "NormalExitTests": (13, 8),
    "ServerTests": (5, 4),
    "DrainingTests": (9, 7),
    "SystemErrorTests": (4, 1),
    "HandledTests": (3, 3),
    "CallsInFlightTests": (2, 0),
    "StreamTests": (1, 1),
    "RunnerTests": (6, 4),
}
# The fewest cells of the failure matrix.
CELLS = 52, 42

# What is left out on both, and why.
LOOKS_INSIDE = (
    "datagram error_received",
    "test_a_lack_of_descriptors_for_accept_fails_nothing",
    "test_an_error_that_a_datagram_protocol_gets_fails_nothing",
    "test_a_signal_that_came_before_it_ends_calls_nobody",
    "test_a_foreign_task_that_is_cancelled_says_so",
    # It is the socket's accept(), in Python, that fails.
    "test_an_error_of_accept_that_passes_fails_nothing",
    # No loop in C tells of connections that are in their handshake.
    "test_a_connection_in_its_handshake_holds_nothing",
    # What the loop had for a signal, it does not tell.
    "test_signal_handlers_that_were_replaced_are_put_back",
    "test_signal_handlers_are_put_back_in_any_order_of_the_ends",
    "test_a_signal_handler_that_is_removed_puts_back_what_was",
    # Nor what its transports have of it.
    "test_delays_of_the_loops_own_code_end_with_it",
    # That of asyncio's own servers.
    "test_one_that_finishes_as_it_ends_is_aborted",
)
NO_RESULT_OF_REMOVE = ("test_a_reader_that_someone_else_replaced_stays",)
NO_TLS = (
    *(f"TLS {method}" for method in (
        "connection_made", "data_received", "eof_received", "connection_lost",
        "pause_writing", "resume_writing")),
    "TLS buffered get_buffer", "TLS buffered buffer_updated",
    "test_a_failed_handshake_fails_nothing",
    "test_futures_are_last_over_tls_over_tls",
    "test_a_handled_tls_connection_is_gone",
    "test_a_tls_peer_that_never_says_goodbye_holds_nothing",
    "test_futures_are_last_over_tls_with_tasks",
    "test_tls_is_closed_with_its_goodbye",
    "test_a_tls_connection_that_was_closed_before_still_times_out",
    "test_what_is_no_tls_on_a_tls_connection_fails_nothing",
    "test_a_foreign_task_gets_a_runtime_error",
    "test_the_host_and_owned_tasks_are_cancelled",
)
NOT_ON_RLOOP = (
    # create_unix_server() and eager_start.
    "test_a_unix_server_is_owned",
    "eager task",
    # Nobody is told of a datagram that was refused, and of a peer's reset.
    "refused datagram",
    "test_a_refused_datagram_fails_nothing",
    "test_a_peers_reset_fails_nothing",
    # A server that is closed ends its connections, flushed or not, and no
    # descriptor is closed.
    "test_a_peer_that_reads_nothing_holds_the_exit_until_a_deadline",
    "test_protocols_may_allocate_when_they_are_lost",
    "test_transports_are_flushed",
    "test_each_kind_is_released_in_its_turn",
    # Its own code reports an error of the system as one of the program.
    "test_a_terminal_that_hangs_up_fails_nothing",
    # An exit of a callback is lost.
    "test_an_exit_from_a_callback_of_nobody",
    "test_an_exit_from_an_owned_callback",
)
# It leaves a process whose start was cancelled.
NOT_ON_UVLOOP = ("test_a_process_is_lost_when_every_task_is_cancelled",)
LEFT_OUT = {
    "uvloop": (*LOOKS_INSIDE, *NO_RESULT_OF_REMOVE, *NOT_ON_UVLOOP),
    "rloop": (*LOOKS_INSIDE, *NO_RESULT_OF_REMOVE, *NO_TLS, *NOT_ON_RLOOP),
}


def run_suite(run, loop, case):
    arguments = (PROGRAMS / "supervisor_tests_on.py", loop,
                 json.dumps([case]), json.dumps(LEFT_OUT[loop]))
    try:
        return json.loads(run(*arguments))
    except AssertionError as error:
        # On rloop, one of some hundreds of runs took more than its time, and
        # the others between one second and thirty.
        if loop != "rloop" or "Timeout (" not in str(error):
            raise
        warnings.warn(f"a run on {loop} took too long: {error}")
        return json.loads(run(*arguments))


@pytest.mark.parametrize("loop, case", [
    (loop, case) for case, fewest in CASES.items()
    for loop, number in zip(LOOPS, fewest) if number])
def test_the_suite_of_supervisors_passes(run, loop, case):
    fewest = CASES[case][LOOPS.index(loop)]
    result = run_suite(run, loop, case)
    outcomes = result["outcomes"]
    assert {test: text for test, text in outcomes.items()
            if text != "passed"} == {}
    assert len(outcomes) >= fewest
    if case == "FailureMatrixTests":
        assert result["cells"] >= CELLS[LOOPS.index(loop)]
