"""A local stand-in for Discord: gateway, REST, CDN and a web page, bound to loopback.

`server.Sandbox` starts it, `driver.Person` sits at its keyboard. What it holds: `world` (the state), made of
`community`, `messages`, `interactions`, `commands`, `files` and `faults`, with `events` telling who listens. How it is
reached: `gateway`, `rest` (through `composing` for messages), `cdn`, and `page` (through `invoking` for what members
do). What it allows: `rules`, pure functions from a payload to violations, which `errors` turns into Discord's answers.
"""
