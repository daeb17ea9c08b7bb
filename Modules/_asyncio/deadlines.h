/* Deadlines: what is armed in a loop, on one timer; see deadlines.c.  */

#ifndef Py_ASYNCIO_DEADLINES_H
#define Py_ASYNCIO_DEADLINES_H

/* A place in the queue: a field of what is queued.  All zero but owner and
   expire is: in no queue.  */
typedef struct {
    struct DeadlinesObject *queue;  /* borrowed; NULL while it is in none */
    Py_ssize_t index;
    double when;
    uint64_t order;                 /* of what is due at the same time */
    PyObject *owner;                /* borrowed: has this in it; the queue has
                                       a reference to it */
    /* Its time has come, and it is in no queue any more.  Return 0, or -1
       with an exception set.  */
    int (*expire)(PyObject *owner);
} Deadline;

/* Queue it until *when*, which is finite, or move it in its queue.  May run
   any Python code: that of the loop.  Return 0, or -1 with an exception set. */
int asyncio_deadline_arm(PyObject *module, PyObject *loop, Deadline *,
                         double when);

int asyncio_deadline_stop(Deadline *);

/* Take it out of its queue, if it is in one.  Return 0, or -1 with an
   exception set.  The caller has a reference to the owner.  */
static inline int
asyncio_deadline_disarm(Deadline *deadline)
{
    return deadline->queue == NULL ? 0 : asyncio_deadline_stop(deadline);
}

/* A function of the module.  */
PyObject *asyncio_deadlines_of(PyObject *module, PyObject *loop);

#endif  /* !Py_ASYNCIO_DEADLINES_H */
