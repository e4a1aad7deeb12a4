"""
Programmes: the policy language, and the packs written in it.

Packs and overlays are data (`packs/`, a deployment's folders); `loader` reads them, `schema` says
what they may hold, and one pure module a clause family says what a clause means.
"""
