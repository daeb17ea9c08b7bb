/* What a task knows of its cancellation, as far as each of its steps needs it.
   Lib/asyncio/cancellation.py says what that is, and has the rest.

   A canceller is NULL for a task that entered nothing; then each of the calls
   by the task is one test.  Functions that return int return 0, or -1 with an
   exception set; they may run any Python code.  */

#ifndef Py_ASYNCIO_CANCELLER_H
#define Py_ASYNCIO_CANCELLER_H

/* Part of the module's state.  All strong but one.  */
typedef struct {
    PyTypeObject *base;          /* _asyncio._CancellerBase */
    PyObject *type;              /* cancellation.Canceller, or NULL at first */
    PyObject *module;            /* borrowed: has this state */
    /* Interned names.  */
    PyObject *adopt;
    PyObject *arm;
    PyObject *deliver_below;
    PyObject *finish_below;
    PyObject *get_loop;
    PyObject *hold;
    PyObject *leave_below;
    PyObject *park_below;
    PyObject *pop_below;
    PyObject *resume_below;
    PyObject *uncancelled;
} CancellerState;

/* cancellation._PyCancellerBase has the same fields, and comments on them.  An
   object is strong, or NULL or None for None.  */
typedef struct {
    PyObject_HEAD
    /* First what a delivery looks at.  */
    PyObject *task;
    PyObject *node;
    PyObject *handle;
    Py_ssize_t streak;
    char told;
    char accepted;
    char yielded;
    PyObject *guards;       /* this and the next two: lists, or NULL */
    PyObject *held;
    PyObject *pending;
    PyObject *loop;
    PyObject *group;
    PyObject *asking;
    Py_ssize_t armed;
    double next_time;
} CancellerObject;

/* The length of a list that is made when it is first needed.  */
static inline Py_ssize_t
canceller_size(PyObject *list)
{
    return list == NULL ? 0 : PyList_GET_SIZE(list);
}

int asyncio_canceller_init(PyObject *module, CancellerState *state);
int asyncio_canceller_visit(CancellerState *state, visitproc visit, void *arg);
void asyncio_canceller_clear(CancellerState *state);

/* In _asynciomodule.c.  */
CancellerState *asyncio_canceller_state(PyObject *canceller);

/* Give a task its canceller.  */
int asyncio_canceller_make(PyObject *task);

int asyncio_canceller_suspend(CancellerState *, CancellerObject *);
int asyncio_canceller_park(CancellerState *, CancellerObject *, int told);
int asyncio_canceller_resume(CancellerState *, CancellerObject *,
                             PyObject *cancelled_error, PyObject **exc,
                             int *owned);
int asyncio_canceller_finish(CancellerState *, CancellerObject *);
int asyncio_canceller_hold(CancellerState *, CancellerObject *, PyObject *msg);
int asyncio_canceller_uncancelled(CancellerState *, CancellerObject *);
void asyncio_canceller_took(CancellerObject *);

/* Add and remove a guard; leave() takes one that is not there, too.  */
int asyncio_canceller_enter(CancellerObject *, PyObject *guard);
int asyncio_canceller_leave(CancellerState *, CancellerObject *,
                            PyObject *guard);

/* Cancel what the task is parked on, if its node is cancelled and this wait
   has not been told of it.  */
int asyncio_canceller_deliver(CancellerState *, CancellerObject *);

/* Enter a node, and leave one, which may be in the middle.  */
struct NodeObject;
int asyncio_canceller_push(CancellerState *, CancellerObject *,
                           struct NodeObject *);
int asyncio_canceller_pop(CancellerState *, CancellerObject *,
                          struct NodeObject *);

/* Make a task that is new one of those below a group's node.  Return 1, 0 if
   it is not new, or not of C, or -1 with an exception set.  */
int asyncio_canceller_adopt(CancellerState *, struct NodeObject *group,
                            PyObject *task);

/* The task is made: tell who waits for the task of this coroutine.  */
int asyncio_canceller_call_owner(CancellerState *, PyObject *owners,
                                 PyObject *coro, PyObject *task);

/* The coroutine has yielded, and nothing is scheduled for it yet.  */
static inline int
canceller_suspend(CancellerState *state, PyObject *canceller)
{
    return canceller == NULL ? 0 : asyncio_canceller_suspend(
        state, (CancellerObject *)canceller);
}

/* The task is parked on a future; told: which was cancelled for an edge.  */
static inline int
canceller_park(CancellerState *state, PyObject *canceller, int told)
{
    return canceller == NULL ? 0 : asyncio_canceller_park(
        state, (CancellerObject *)canceller, told);
}

/* The task will run on in the next pass of the loop.  */
static inline void
canceller_yielded(PyObject *canceller)
{
    if (canceller != NULL) {
        ((CancellerObject *)canceller)->yielded = 1;
    }
}

/* The task runs on: change what it is thrown.  *exc is NULL or, if *owned,
   a strong reference.  */
static inline int
canceller_resume(CancellerState *state, PyObject *canceller,
                 PyObject *cancelled_error, PyObject **exc, int *owned)
{
    return canceller == NULL ? 0 : asyncio_canceller_resume(
        state, (CancellerObject *)canceller, cancelled_error, exc, owned);
}

/* Someone calls cancel(): return 1 if that is held, 0 if not, or -1.  */
static inline int
canceller_hold(CancellerState *state, PyObject *canceller, PyObject *msg)
{
    return canceller == NULL ? 0 : asyncio_canceller_hold(
        state, (CancellerObject *)canceller, msg);
}

/* What the task is parked on was cancelled for an edge.  */
static inline void
canceller_took(PyObject *canceller)
{
    if (canceller != NULL) {
        asyncio_canceller_took((CancellerObject *)canceller);
    }
}

/* The count of requests is lower.  */
static inline int
canceller_uncancelled(CancellerState *state, PyObject *canceller)
{
    return canceller == NULL ? 0 : asyncio_canceller_uncancelled(
        state, (CancellerObject *)canceller);
}

/* The coroutine has ended, which may have set an exception: that stays.  */
static inline int
canceller_finish(CancellerState *state, PyObject *canceller)
{
    return canceller == NULL ? 0 : asyncio_canceller_finish(
        state, (CancellerObject *)canceller);
}

#endif  /* !Py_ASYNCIO_CANCELLER_H */
