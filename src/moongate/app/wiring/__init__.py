"""Where concrete classes are named and put together; nowhere else.

    Settings ─► stock.Stock      index, layout, blobs, keeping       (blocking; what most commands need)
             └► gateway.Gateway  stock, upstream, hub, fills, guard  (an event loop; what pulls and serves)
                  └► front.Front: the gateway behind HTTP

Order on the way in: FrontDoor (limits, framing) → Dispatcher (Host, caller, errors, log) → routes → hub
(access, freshness) → store, or upstream behind its guard. On the way out nothing is wrapped again.
"""
