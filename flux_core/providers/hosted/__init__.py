"""Hosted providers: the one engine that runs them all, and one file per vendor in ``vendors``.

A vendor's file knows its wire format and nothing else: what a request looks like, what an answer means. The engine
(``provider``) knows money, time and failure: what is sent once only, what is asked again, what a fault becomes.
"""
