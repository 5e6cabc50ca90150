"""Do the effects of many neurons add up, and for how many?"""
