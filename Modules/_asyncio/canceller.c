/* _CancellerBase: what a task's steps need of its Canceller.

   The task owns its canceller, and the canceller its task, until the task
   ends: finish() takes both apart.  The methods that Python code of
   cancellation.py calls are the functions that the task calls.  */

#ifndef Py_BUILD_CORE_BUILTIN
#  define Py_BUILD_CORE_MODULE 1
#endif

#include "Python.h"
#include "structmember.h"
#include "scopes.h"

/* Call a method without a result.  The caller's field may be cleared by
   what it calls, hence the reference.  */
static int
call(PyObject *self, PyObject *name, PyObject *arg)
{
    Py_INCREF(self);
    PyObject *res = arg == NULL ? PyObject_CallMethodNoArgs(self, name)
                                : PyObject_CallMethodOneArg(self, name, arg);
    Py_DECREF(self);
    return call_and_forget(res);
}

/* Return the node that the task is in, borrowed, if that is one in C.  */
static inline NodeObject *
node_in_c(CancellerState *state, CancellerObject *self)
{
    PyTypeObject *type = asyncio_scope_state(state->module)->node_type;
    return (self->node != NULL && Py_IS_TYPE(self->node, type)
            ? (NodeObject *)self->node : NULL);
}

static PyObject *
ensure_list(PyObject **list)
{
    if (*list == NULL) {
        *list = PyList_New(0);
    }
    return *list;
}

static void
delivered_edge(CancellerObject *self)
{
    Py_ssize_t size = canceller_size(self->pending);
    if (size > 0) {
        PyList_SetSlice(self->pending, 0, size, NULL);
    }
}

/* --- What the task calls --- */

int
asyncio_canceller_suspend(CancellerState *state, CancellerObject *self)
{
    PyObject *guards = self->guards;
    if (self->armed >= canceller_size(guards)) {
        return 0;
    }
    Py_INCREF(self);
    Py_INCREF(guards);
    int res = 0;
    while (res == 0 && self->armed < PyList_GET_SIZE(guards)) {
        PyObject *guard = PyList_GET_ITEM(guards, self->armed);
        self->armed++;
        res = call(guard, state->arm, NULL);
    }
    Py_DECREF(guards);
    Py_DECREF(self);
    return res;
}

int
asyncio_canceller_park(CancellerState *state, CancellerObject *self, int told)
{
    self->told = (char)told;
    self->accepted = 0;
    if (told) {
        delivered_edge(self);
    }
    else if (!is_none(self->node)) {
        NodeObject *node = node_in_c(state, self);
        if (node == NULL) {
            return call((PyObject *)self, state->park_below, NULL);
        }
        if (node->effective) {
            return asyncio_canceller_deliver(state, self);
        }
    }
    return 0;
}

static int
resume_below(CancellerState *state, CancellerObject *self, PyObject **exc,
             int *owned)
{
    Py_INCREF(self);
    PyObject *thrown = PyObject_CallMethodOneArg(
        (PyObject *)self, state->resume_below, *exc == NULL ? Py_None : *exc);
    Py_DECREF(self);
    if (*owned) {
        Py_CLEAR(*exc);
        *owned = 0;
    }
    if (thrown == NULL) {
        return -1;
    }
    if (Py_IsNone(thrown)) {
        Py_DECREF(thrown);
        thrown = NULL;
    }
    *exc = thrown;
    *owned = thrown != NULL;
    return 0;
}

static int
is_perhaps_cancelled(CancellerState *state, CancellerObject *self)
{
    NodeObject *node = node_in_c(state, self);
    return node != NULL ? node->effective : !is_none(self->node);
}

int
asyncio_canceller_resume(CancellerState *state, CancellerObject *self,
                         PyObject *cancelled_error, PyObject **exc,
                         int *owned)
{
    if (!is_none(self->handle) || (self->yielded && *exc == NULL
                                   && is_perhaps_cancelled(state, self))) {
        return resume_below(state, self, exc, owned);
    }
    if (!(self->accepted && *exc != NULL
          && PyErr_GivenExceptionMatches(*exc, cancelled_error))) {
        self->streak = 0;
    }
    self->told = self->accepted = self->yielded = 0;
    delivered_edge(self);
    return 0;
}

/* Take the canceller and its task apart, if the task has left nothing open.
   Return 1, 0 if it has, or -1.  */
static int
leave_task(CancellerState *state, CancellerObject *self)
{
    PyTypeObject *node_type = asyncio_scope_state(state->module)->node_type;
    PyObject *group = self->group;
    if (canceller_size(self->guards) > 0
        || canceller_size(self->pending) > 0
        || (!is_none(group)
            && (!Py_IS_TYPE(group, node_type)
                || !PyDict_CheckExact(((NodeObject *)group)->members)))
        || !asyncio_is_c_task(state->module, self->task))
    {
        return 0;
    }
    PyObject *task = self->task, *node = self->node;
    self->task = self->node = self->group = NULL;
    int res = 0;
    if (!is_none(group)) {
        res = PyDict_Pop(((NodeObject *)group)->members, (PyObject *)self,
                         NULL);
    }
    asyncio_task_set_canceller(task, NULL);
    Py_XDECREF(node);
    Py_XDECREF(group);
    Py_DECREF(task);
    return res < 0 ? -1 : 1;
}

int
asyncio_canceller_finish(CancellerState *state, CancellerObject *self)
{
    KeptError error = {0};
    int is_raised = PyErr_Occurred() != NULL;
    keep_error(&error, is_raised ? -1 : 0);
    Py_INCREF(self);
    int res = leave_task(state, self);
    if (res == 0) {
        res = call((PyObject *)self, state->finish_below, NULL);
    }
    Py_DECREF(self);
    keep_error(&error, res);
    raise_kept(&error);
    return res < 0 ? -1 : 0;
}

int
asyncio_canceller_make(PyObject *task)
{
    PyObject *name = PyUnicode_FromString("asyncio.cancellation");
    if (name == NULL) {
        return -1;
    }
    /* There is no import when the interpreter ends.  */
    PyObject *module = PyImport_GetModule(name);
    Py_DECREF(name);
    if (module == NULL) {
        return PyErr_Occurred() ? -1 : 0;
    }
    PyObject *canceller = PyObject_CallMethod(module, "canceller_of", "O",
                                              task);
    Py_DECREF(module);
    Py_XDECREF(canceller);
    return canceller == NULL ? -1 : 0;
}

int
asyncio_canceller_hold(CancellerState *state, CancellerObject *self,
                       PyObject *msg)
{
    Py_INCREF(self);
    PyObject *held = PyObject_CallMethodOneArg((PyObject *)self, state->hold,
                                               msg);
    Py_DECREF(self);
    if (held == NULL) {
        return -1;
    }
    int res = PyObject_IsTrue(held);
    Py_DECREF(held);
    return res;
}

int
asyncio_canceller_uncancelled(CancellerState *state, CancellerObject *self)
{
    return call((PyObject *)self, state->uncancelled, NULL);
}

void
asyncio_canceller_took(CancellerObject *self)
{
    self->told = 1;
    delivered_edge(self);
}

int
asyncio_canceller_call_owner(CancellerState *state, PyObject *owners,
                             PyObject *coro, PyObject *task)
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
    int res = call(owner, state->adopt, task);
    Py_DECREF(owner);
    return res;
}

/* --- Level --- */

/* Cancel a plain future, the first time in a row of waits.  */
static int
ask_plain(CancellerState *state, CancellerObject *self, NodeObject *node,
          PyObject *future)
{
    PyObject *msg = Py_NewRef(asyncio_node_text(node));
    self->told = 1;
    Py_INCREF(self);
    Py_INCREF(future);
    int accepted = asyncio_future_cancel(state->module, future, msg);
    if (accepted >= 0) {
        self->accepted = (char)accepted;
        self->streak += accepted;
    }
    Py_DECREF(future);
    Py_DECREF(self);
    Py_DECREF(msg);
    return accepted < 0 ? -1 : 0;
}

int
asyncio_canceller_deliver(CancellerState *state, CancellerObject *self)
{
    if (is_none(self->task) || self->told || !is_none(self->handle)) {
        return 0;
    }
    NodeObject *node = node_in_c(state, self);
    PyObject *future = asyncio_plain_waiter(state->module, self->task);
    if (node != NULL && future != NULL && self->streak == 0) {
        return node->effective ? ask_plain(state, self, node, future) : 0;
    }
    return call((PyObject *)self, state->deliver_below, NULL);
}

/* --- Nodes --- */

int
asyncio_canceller_push(CancellerState *state, CancellerObject *self,
                       NodeObject *node)
{
    NodeObject *parent = node_in_c(state, self);
    if (parent == NULL && !is_none(self->node)) {
        PyErr_SetString(PyExc_TypeError,
                        "a tree has nodes of one class only");
        return -1;
    }
    Py_XSETREF(node->host, Py_NewRef(self));
    asyncio_node_attach(node, parent);
    Py_XSETREF(self->node, Py_NewRef(node));
    return 0;
}

int
asyncio_canceller_pop(CancellerState *state, CancellerObject *self,
                      NodeObject *node)
{
    if (canceller_size(self->held) > 0
        || canceller_size(self->pending) > 0) {
        return call((PyObject *)self, state->pop_below, (PyObject *)node);
    }
    Py_INCREF(node);
    if (self->node == (PyObject *)node) {
        Py_SETREF(self->node, Py_XNewRef(node->parent));
    }
    int res = asyncio_node_detach(state->module, node);
    Py_DECREF(node);
    return res;
}

int
asyncio_canceller_adopt(CancellerState *state, NodeObject *group,
                        PyObject *task)
{
    if (!asyncio_is_new_task(state->module, task)
        || group->members == NULL || !PyDict_CheckExact(group->members)) {
        return 0;
    }
    if (state->type == NULL) {
        ScopeState *scopes = asyncio_scope_state(state->module);
        state->type = asyncio_import(&scopes->cancellation,
                                     "asyncio.cancellation", "Canceller");
        if (state->type == NULL) {
            return -1;
        }
    }
    PyObject *canceller = PyObject_CallOneArg(state->type, task);
    if (canceller == NULL
        || PyDict_SetItem(group->members, canceller, Py_None) < 0) {
        Py_XDECREF(canceller);
        return -1;
    }
    CancellerObject *self = (CancellerObject *)canceller;
    Py_XSETREF(self->group, Py_NewRef(group));
    Py_XSETREF(self->node, Py_NewRef(group));
    asyncio_task_set_canceller(task, canceller);
    Py_DECREF(canceller);
    return 1;
}

/* --- Guards --- */

int
asyncio_canceller_enter(CancellerObject *self, PyObject *guard)
{
    PyObject *guards = ensure_list(&self->guards);
    return guards == NULL ? -1 : PyList_Append(guards, guard);
}

int
asyncio_canceller_leave(CancellerState *state, CancellerObject *self,
                        PyObject *guard)
{
    PyObject *guards = self->guards;
    Py_ssize_t last = canceller_size(guards) - 1;
    if (last < 0 || PyList_GET_ITEM(guards, last) != guard) {
        return call((PyObject *)self, state->leave_below, guard);
    }
    if (self->armed > last) {
        self->armed = last;
    }
    return PyList_SetSlice(guards, last, last + 1, NULL);
}

/* --- The type --- */

static int
canceller_init(PyObject *op, PyObject *args, PyObject *kwds)
{
    CancellerObject *self = (CancellerObject *)op;
    PyObject *task;
    if (!PyArg_UnpackTuple(args, "_CancellerBase", 1, 1, &task)) {
        return -1;
    }
    CancellerState *state = asyncio_canceller_state(op);
    PyObject *loop = PyObject_CallMethodNoArgs(task, state->get_loop);
    if (loop == NULL) {
        return -1;
    }
    Py_XSETREF(self->task, Py_NewRef(task));
    Py_XSETREF(self->loop, loop);
    return 0;
}

static int
canceller_traverse(PyObject *op, visitproc visit, void *arg)
{
    CancellerObject *self = (CancellerObject *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->task);
    Py_VISIT(self->loop);
    Py_VISIT(self->node);
    Py_VISIT(self->group);
    Py_VISIT(self->guards);
    Py_VISIT(self->held);
    Py_VISIT(self->pending);
    Py_VISIT(self->asking);
    Py_VISIT(self->handle);
    return 0;
}

static int
canceller_clear(PyObject *op)
{
    CancellerObject *self = (CancellerObject *)op;
    Py_CLEAR(self->task);
    Py_CLEAR(self->loop);
    Py_CLEAR(self->node);
    Py_CLEAR(self->group);
    Py_CLEAR(self->asking);
    Py_CLEAR(self->handle);
    Py_CLEAR(self->guards);
    Py_CLEAR(self->held);
    Py_CLEAR(self->pending);
    return 0;
}

static void
canceller_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    canceller_clear(op);
    type->tp_free(op);
    Py_DECREF(type);
}

static PyObject *
canceller_suspend_method(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    return none_or_null(asyncio_canceller_suspend(
        asyncio_canceller_state(self), (CancellerObject *)self));
}

static PyObject *
canceller_park_method(PyObject *self, PyObject *told)
{
    int is_told = PyObject_IsTrue(told);
    if (is_told < 0) {
        return NULL;
    }
    return none_or_null(asyncio_canceller_park(
        asyncio_canceller_state(self), (CancellerObject *)self, is_told));
}

static PyObject *
canceller_took_method(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    asyncio_canceller_took((CancellerObject *)self);
    Py_RETURN_NONE;
}

static PyObject *
canceller_enter_method(PyObject *self, PyObject *guard)
{
    return none_or_null(asyncio_canceller_enter((CancellerObject *)self,
                                                guard));
}

static PyObject *
canceller_leave_method(PyObject *self, PyObject *guard)
{
    return none_or_null(asyncio_canceller_leave(
        asyncio_canceller_state(self), (CancellerObject *)self, guard));
}

static PyMethodDef canceller_methods[] = {
    {"suspend", canceller_suspend_method, METH_NOARGS, NULL},
    {"park", canceller_park_method, METH_O, NULL},
    {"took", canceller_took_method, METH_NOARGS, NULL},
    {"append_guard", canceller_enter_method, METH_O, NULL},
    {"leave", canceller_leave_method, METH_O, NULL},
    {NULL, NULL}
};

static PyObject *
canceller_get_list(PyObject *self, void *offset)
{
    PyObject *list;
    Py_BEGIN_CRITICAL_SECTION(self);
    list = ensure_list((PyObject **)((char *)self + (size_t)offset));
    Py_END_CRITICAL_SECTION();
    return Py_XNewRef(list);
}

#define LIST(name) \
    {#name, canceller_get_list, NULL, NULL, \
     (void *)offsetof(CancellerObject, name)}

static PyGetSetDef canceller_getset[] = {
    LIST(guards),
    LIST(held),
    LIST(pending),
    {NULL}
};

#define FIELD(name, type) \
    {#name, type, offsetof(CancellerObject, name), 0, NULL}

static PyMemberDef canceller_members[] = {
    FIELD(task, _Py_T_OBJECT),
    FIELD(loop, _Py_T_OBJECT),
    FIELD(node, _Py_T_OBJECT),
    FIELD(group, _Py_T_OBJECT),
    FIELD(asking, _Py_T_OBJECT),
    FIELD(handle, _Py_T_OBJECT),
    FIELD(armed, Py_T_PYSSIZET),
    FIELD(streak, Py_T_PYSSIZET),
    FIELD(next_time, Py_T_DOUBLE),
    FIELD(told, Py_T_BOOL),
    FIELD(accepted, Py_T_BOOL),
    FIELD(yielded, Py_T_BOOL),
    {NULL}
};

static PyType_Slot canceller_slots[] = {
    {Py_tp_new, PyType_GenericNew},
    {Py_tp_init, canceller_init},
    {Py_tp_dealloc, canceller_dealloc},
    {Py_tp_traverse, canceller_traverse},
    {Py_tp_clear, canceller_clear},
    {Py_tp_methods, canceller_methods},
    {Py_tp_members, canceller_members},
    {Py_tp_getset, canceller_getset},
    {0, NULL},
};

static PyType_Spec canceller_spec = {
    .name = "_asyncio._CancellerBase",
    .basicsize = sizeof(CancellerObject),
    .flags = (Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE
              | Py_TPFLAGS_IMMUTABLETYPE),
    .slots = canceller_slots,
};

/* --- The state --- */

int
asyncio_canceller_visit(CancellerState *state, visitproc visit, void *arg)
{
    Py_VISIT(state->base);
    Py_VISIT(state->type);
    Py_VISIT(state->adopt);
    Py_VISIT(state->arm);
    Py_VISIT(state->deliver_below);
    Py_VISIT(state->finish_below);
    Py_VISIT(state->get_loop);
    Py_VISIT(state->hold);
    Py_VISIT(state->leave_below);
    Py_VISIT(state->park_below);
    Py_VISIT(state->pop_below);
    Py_VISIT(state->resume_below);
    Py_VISIT(state->uncancelled);
    return 0;
}

void
asyncio_canceller_clear(CancellerState *state)
{
    Py_CLEAR(state->base);
    Py_CLEAR(state->type);
    Py_CLEAR(state->adopt);
    Py_CLEAR(state->arm);
    Py_CLEAR(state->deliver_below);
    Py_CLEAR(state->finish_below);
    Py_CLEAR(state->get_loop);
    Py_CLEAR(state->hold);
    Py_CLEAR(state->leave_below);
    Py_CLEAR(state->park_below);
    Py_CLEAR(state->pop_below);
    Py_CLEAR(state->resume_below);
    Py_CLEAR(state->uncancelled);
}

int
asyncio_canceller_init(PyObject *module, CancellerState *state)
{
    struct {PyObject **name; const char *text;} names[] = {
        {&state->adopt, "adopt"},
        {&state->arm, "_arm"},
        {&state->deliver_below, "deliver"},
        {&state->finish_below, "finish"},
        {&state->get_loop, "get_loop"},
        {&state->hold, "hold"},
        {&state->leave_below, "_leave_below"},
        {&state->park_below, "_park_below"},
        {&state->pop_below, "pop"},
        {&state->resume_below, "resume"},
        {&state->uncancelled, "uncancelled"},
    };
    state->module = module;
    for (size_t i = 0; i < Py_ARRAY_LENGTH(names); i++) {
        *names[i].name = PyUnicode_InternFromString(names[i].text);
        if (*names[i].name == NULL) {
            return -1;
        }
    }
    state->base = (PyTypeObject *)PyType_FromModuleAndSpec(
        module, &canceller_spec, NULL);
    if (state->base == NULL) {
        return -1;
    }
    return PyModule_AddType(module, state->base);
}
