/* What _asynciomodule.c tells a task's Canceller (Lib/asyncio/cancellation.py
   says what that is).

   A canceller is NULL for a task that entered nothing; then each call is one
   test.  The functions return 0, or -1 with an exception set; they may run
   any Python code.  */

#ifndef Py_ASYNCIO_CANCELLER_H
#define Py_ASYNCIO_CANCELLER_H

/* Interned names, part of the module's state.  All strong.  */
typedef struct {
    PyObject *adopt;
    PyObject *finish;
    PyObject *hold;
    PyObject *park;
    PyObject *resume;
    PyObject *suspend;
    PyObject *took;
    PyObject *uncancelled;
    PyObject *yielded;
} CancellerNames;

static inline int
canceller_names_visit(CancellerNames *names, visitproc visit, void *arg)
{
    Py_VISIT(names->adopt);
    Py_VISIT(names->finish);
    Py_VISIT(names->hold);
    Py_VISIT(names->park);
    Py_VISIT(names->resume);
    Py_VISIT(names->suspend);
    Py_VISIT(names->took);
    Py_VISIT(names->uncancelled);
    Py_VISIT(names->yielded);
    return 0;
}

static inline void
canceller_names_clear(CancellerNames *names)
{
    Py_CLEAR(names->adopt);
    Py_CLEAR(names->finish);
    Py_CLEAR(names->hold);
    Py_CLEAR(names->park);
    Py_CLEAR(names->resume);
    Py_CLEAR(names->suspend);
    Py_CLEAR(names->took);
    Py_CLEAR(names->uncancelled);
    Py_CLEAR(names->yielded);
}

static inline int
canceller_names_init(CancellerNames *names)
{
    struct {PyObject **name; const char *text;} all[] = {
        {&names->adopt, "adopt"},
        {&names->finish, "finish"},
        {&names->hold, "hold"},
        {&names->park, "park"},
        {&names->resume, "resume"},
        {&names->suspend, "suspend"},
        {&names->took, "took"},
        {&names->uncancelled, "uncancelled"},
        {&names->yielded, "yielded"},
    };
    for (size_t i = 0; i < Py_ARRAY_LENGTH(all); i++) {
        *all[i].name = PyUnicode_InternFromString(all[i].text);
        if (*all[i].name == NULL) {
            return -1;
        }
    }
    return 0;
}

/* Call a method without a result.  The caller's field may be cleared by
   what it calls, hence the reference.  */
static inline int
canceller_call(PyObject *canceller, PyObject *name, PyObject *arg)
{
    Py_INCREF(canceller);
    PyObject *res = arg == NULL ? PyObject_CallMethodNoArgs(canceller, name)
                                : PyObject_CallMethodOneArg(canceller, name,
                                                            arg);
    Py_DECREF(canceller);
    Py_XDECREF(res);
    return res == NULL ? -1 : 0;
}

/* The task is made: tell who waits for the task of this coroutine.  */
static inline int
canceller_call_owner(CancellerNames *names, PyObject *owners, PyObject *coro,
                     PyObject *task)
{
    if (PyDict_GET_SIZE(owners) == 0) {
        return 0;
    }
    PyObject *key = PyLong_FromVoidPtr(coro);
    if (key == NULL) {
        return -1;
    }
    PyObject *owner;
    int found = PyDict_Pop(owners, key, &owner);
    Py_DECREF(key);
    if (found <= 0) {
        return found;
    }
    int res = canceller_call(owner, names->adopt, task);
    Py_DECREF(owner);
    return res;
}

/* The coroutine has yielded, and nothing is scheduled for it yet.  */
static inline int
canceller_suspend(CancellerNames *names, PyObject *canceller)
{
    return canceller == NULL ? 0
                             : canceller_call(canceller, names->suspend, NULL);
}

/* The task is parked on a future; told: which was cancelled for an edge.  */
static inline int
canceller_park(CancellerNames *names, PyObject *canceller, int told)
{
    return canceller == NULL ? 0
                             : canceller_call(canceller, names->park,
                                              told ? Py_True : Py_False);
}

/* The task will run on in the next pass of the loop.  */
static inline int
canceller_yielded(CancellerNames *names, PyObject *canceller)
{
    return canceller == NULL ? 0
                             : PyObject_SetAttr(canceller, names->yielded,
                                                Py_True);
}

/* The task runs on: change what it is thrown.  *exc is NULL or, if *owned,
   a strong reference.  */
static inline int
canceller_resume(CancellerNames *names, PyObject *canceller, PyObject **exc,
                 int *owned)
{
    if (canceller == NULL) {
        return 0;
    }
    Py_INCREF(canceller);
    PyObject *thrown = PyObject_CallMethodOneArg(
        canceller, names->resume, *exc == NULL ? Py_None : *exc);
    Py_DECREF(canceller);
    if (*owned) {
        Py_CLEAR(*exc);
        *owned = 0;
    }
    if (thrown == NULL) {
        return -1;
    }
    if (Py_IsNone(thrown)) {
        *exc = NULL;
        Py_DECREF(thrown);
    }
    else {
        *exc = thrown;
        *owned = 1;
    }
    return 0;
}

/* Someone calls cancel(): return 1 if that is held, 0 if not, or -1.  */
static inline int
canceller_hold(CancellerNames *names, PyObject *canceller, PyObject *msg)
{
    if (canceller == NULL) {
        return 0;
    }
    Py_INCREF(canceller);
    PyObject *held = PyObject_CallMethodOneArg(canceller, names->hold, msg);
    Py_DECREF(canceller);
    if (held == NULL) {
        return -1;
    }
    int res = PyObject_IsTrue(held);
    Py_DECREF(held);
    return res;
}

/* What the task is parked on was cancelled for an edge.  */
static inline int
canceller_took(CancellerNames *names, PyObject *canceller)
{
    return canceller == NULL ? 0
                             : canceller_call(canceller, names->took, NULL);
}

/* The count of requests is lower.  */
static inline int
canceller_uncancelled(CancellerNames *names, PyObject *canceller)
{
    return canceller == NULL ? 0
                             : canceller_call(canceller, names->uncancelled,
                                              NULL);
}

/* The coroutine has ended, which may have set an exception: that stays.  */
static inline int
canceller_finish(CancellerNames *names, PyObject *canceller)
{
    if (canceller == NULL) {
        return 0;
    }
    PyObject *exc = PyErr_GetRaisedException();
    int res = canceller_call(canceller, names->finish, NULL);
    if (res < 0) {
        _PyErr_ChainExceptions1(exc);
        return -1;
    }
    PyErr_SetRaisedException(exc);
    return 0;
}

#endif  /* !Py_ASYNCIO_CANCELLER_H */
