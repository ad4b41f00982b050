from .graph_context import PatientContext as PatientContext
from .patient_signature import join_fields as join_fields
from .patient_signature import list_signature as list_signature
from .patient_signature import make_patient_judge as make_patient_judge

__all__ = ["PatientContext", "join_fields", "list_signature", "make_patient_judge"]
