"""Tables of the published formats, with rows of our own making, and the rows that they become."""

# For each case the formats, the lines of the tables, and the columns of the output in `COLUMNS`, separated by vertical
# bars, under the policy `malignant`.
COLUMNS = ["image_name", "patient_id", "lesion_id", "sex", "age_approx", "anatom_site_general_challenge", "diagnosis"]
COLUMNS += ["target", "image_type"]
TBP = "isic_id,target,patient_id,age_approx,sex,anatom_site_general,image_type,tbp_lv_areaMM2,lesion_id,iddx_full"
TBP_TILE = "TBP tile: close-up"
ARCHIVE = "isic_id,attribution,copyright_license,age_approx,image_type,lesion_id,sex"
CASES = {
    "isic2016": (
        ["isic2016_truth"],
        [["ISIC_0000001,benign", "ISIC_0000002,malignant"]],
        ["ISIC_0000001|||||||0|dermoscopic", "ISIC_0000002|||||||1|dermoscopic"],
    ),
    "isic2016 test": (
        ["isic2016_truth"],
        [["ISIC_0000001,0.0", "ISIC_0000002,1.0"]],
        ["ISIC_0000001|||||||0|dermoscopic", "ISIC_0000002|||||||1|dermoscopic"],
    ),
    "isic2017": (
        ["isic2017_truth", "isic2017_metadata"],
        [
            ["image_id,melanoma,seborrheic_keratosis", "a,1.0,0.0", "b,0.0,1.0", "c,0.0,0.0"],
            ["image_id,age_approximate,sex", "a,55,female", "b,unknown,unknown", "c,85,male"],
        ],
        [
            "a|||female|55||melanoma|1|dermoscopic",
            "b||||||seborrheic keratosis|0|dermoscopic",
            "c|||male|85||nevus|0|dermoscopic",
        ],
    ),
    "isic2018": (
        ["isic2018_truth", "isic2018_lesions"],
        [
            ["image,MEL,NV,BCC,AKIEC,BKL,DF,VASC", "a,0,0,0,0,0,0,1", "b,0,0,1.0,0,0,0,0"],
            ["image,lesion_id,diagnosis_confirm_type", "a,HAM_1,histopathology", "b,HAM_2,confocal"],
        ],
        ["a||HAM_1||||vascular lesion|0|dermoscopic", "b||HAM_2||||basal cell carcinoma|1|dermoscopic"],
    ),
    "isic2019 test": (
        ["isic2019_truth", "isic2019_metadata"],
        [
            [
                "image,MEL,NV,BCC,AK,BKL,DF,VASC,SCC,UNK,score_weight,validation_weight",
                "a,0,0,0,0,0,0,0,1,0,1,0",
                "b,0,0,0,0,1,0,0,0,0,1,0",
                "c,0,0,0,0,0,0,0,0,1,1,0",
            ],
            ["image,age_approx,anatom_site_general,sex", "a,70,lateral torso,male", "b,,palms/soles,", "c,5,,female"],
        ],
        [
            "a|||male|70|torso|squamous cell carcinoma|1|dermoscopic",
            "b|||||palms/soles|benign keratosis|0|dermoscopic",
        ],
    ),
    "isic2020 official": (
        ["isic2020_train"],
        [
            [
                "image_name,patient_id,lesion_id,sex,age_approx,anatom_site_general_challenge,diagnosis,"
                "benign_malignant,target",
                "a,IP_1,IL_1,male,45.0,head/neck,unknown,benign,0",
                "b,IP_2,IL_2,,,,melanoma,malignant,1",
            ]
        ],
        ["a|IP_1|IL_1|male|45|head/neck|unknown|0|dermoscopic", "b|IP_2|IL_2||||melanoma|1|dermoscopic"],
    ),
    "isic2020 official test": (
        ["isic2020_test_metadata"],
        [["image,patient,anatom_site_general,age_approx,sex", "a,IP_1,torso,70,male"]],
        ["a|IP_1||male|70|torso|||dermoscopic"],
    ),
    "isic2024 Kaggle": (
        ["isic2024_train"],
        [
            [
                f"{TBP},iddx_1,iddx_2,iddx_3,iddx_4,iddx_5",
                f"a,0,IP_1,60.0,male,lower extremity,{TBP_TILE},3.1,,Benign,Benign,,,,",
                f"b,1,IP_1,60.0,male,head/neck,{TBP_TILE},2.0,IL_1,x,Malignant,"
                'Malignant epidermal proliferations,"Squamous cell carcinoma, Invasive",,',
            ]
        ],
        [
            f"a|IP_1||male|60|lower extremity|unknown|0|{TBP_TILE}",
            f"b|IP_1|IL_1|male|60|head/neck|squamous cell carcinoma|1|{TBP_TILE}",
        ],
    ),
    "isic2024 Kaggle test": (
        ["isic2024_metadata"],
        [
            [
                "isic_id,patient_id,age_approx,sex,anatom_site_general,tbp_lv_areaMM2",
                "a,IP_1,45.0,female,posterior torso,3.8",
            ]
        ],
        [f"a|IP_1||female|45|torso|||{TBP_TILE}"],
    ),
    "isic2024 official": (
        ["isic2024_truth", "isic2024_supplement"],
        [
            ["isic_id,malignant", "a,0.0", "b,1.0"],
            [
                "isic_id,iddx_full,iddx_1,iddx_2,iddx_3,patient_id,age_approx,sex,anatom_site_general",
                "a,Benign,Benign,,,IP_1,50,male,anterior torso",
                "b,x,Malignant,Malignant melanocytic proliferations (Melanoma),Melanoma in situ,IP_2,85,female,hand",
            ],
        ],
        [f"a|IP_1||male|50|torso|unknown|0|{TBP_TILE}", f"b|IP_2||female|85|upper extremity|melanoma|1|{TBP_TILE}"],
    ),
    "ham10000": (
        ["ham10000"],
        [
            [
                "lesion_id,image_id,dx,dx_type,age,sex,localization,dataset",
                "HAM_1,a,bkl,histo,80.0,male,scalp,vidir_modern",
                "HAM_1,b,bkl,histo,80.0,male,scalp,vidir_modern",
                "HAM_2,c,bcc,histo,,unknown,unknown,rosendahl",
            ]
        ],
        [
            "a||HAM_1|male|80|head/neck|benign keratosis|0|dermoscopic",
            "b||HAM_1|male|80|head/neck|benign keratosis|0|dermoscopic",
            "c||HAM_2||||basal cell carcinoma|1|dermoscopic",
        ],
    ),
    "ham10000 of Harvard": (
        ["ham10000"],
        [
            [
                "lesion_id\timage_id\tdx\tdx_type\tage\tsex\tlocalization\tdataset",
                '"HAM_1"\t"a"\t"mel"\t"histo"\t80.0\t"male"\t"scalp"\t"vidir_modern"',
                '"HAM_2"\t"b"\t"nv"\t"follow_up"\t\t"unknown"\t"unknown"\t"vidir_molemax"',
            ]
        ],
        ["a||HAM_1|male|80|head/neck|melanoma|1|dermoscopic", "b||HAM_2||||nevus|0|dermoscopic"],
    ),
    "bcn20000 test": (
        ["bcn20000"],
        [["bcn_filename,age_approx,anatom_site_general,diagnosis,sex,split", "BCN_1.jpg,55.0,head/neck,,male,test"]],
        ["BCN_1|||male|55|head/neck|||dermoscopic"],
    ),
    "bcn20000": (
        ["bcn20000"],
        [
            [
                "bcn_filename,age_approx,anatom_site_general,diagnosis,lesion_id,capture_date,sex,split",
                "BCN_0000000001.jpg,55.0,anterior torso,MEL,BCN_0003884,2012-05-16,male,train",
                "BCN_0000000002.jpg,,lower extremity,VASC,,2013-01-01,female,train",
            ]
        ],
        [
            "BCN_0000000001||BCN_0003884|male|55|torso|melanoma|1|dermoscopic",
            "BCN_0000000002|||female||lower extremity|vascular lesion|0|dermoscopic",
        ],
    ),
    "milk10k": (
        ["milk10k_truth", "milk10k_metadata"],
        [
            [
                "lesion_id,AKIEC,BCC,BEN_OTH,BKL,DF,INF,MAL_OTH,MEL,NV,SCCKA,VASC",
                "IL_1,0,0,0,0,0,0,0,0,0,1.0,0",
                "IL_2,0,0,0,0,0,1.0,0,0,0,0,0",
            ],
            [
                "lesion_id,image_type,isic_id,attribution,copyright_license,age_approx,sex,skin_tone_class,site",
                "IL_1,clinical: close-up,a,MILK,CC-BY-NC,70,male,1,head_neck_face",
                "IL_1,dermoscopic,b,MILK,CC-BY-NC,70,male,1,head_neck_face",
                "IL_2,dermoscopic,c,MILK,CC-BY-NC,,female,5,foot",
            ],
        ],
        [
            "a||IL_1|male|70|head/neck|squamous cell carcinoma|1|clinical: close-up",
            "b||IL_1|male|70|head/neck|squamous cell carcinoma|1|dermoscopic",
            "c||IL_2|female||lower extremity|unknown|0|dermoscopic",
        ],
    ),
    "archive until May 2026": (
        ["isic_archive_hierarchy"],
        [
            [
                f"{ARCHIVE},anatom_site_general,diagnosis_1,diagnosis_2,diagnosis_3,diagnosis_4",
                "a,x,CC-0,85,dermoscopic,IL_1,male,anterior torso,Malignant,"
                "Malignant adnexal epithelial proliferations - Follicular,Basal cell carcinoma,",
                "b,x,CC-0,40,dermoscopic,IL_2,female,,Benign,Benign melanocytic proliferations,Nevus,"
                '"Nevus, NOS, Compound"',
            ]
        ],
        [
            "a||IL_1|male|85|torso|basal cell carcinoma|1|dermoscopic",
            "b||IL_2|female|40||nevus|0|dermoscopic",
        ],
    ),
    "archive since May 2026": (
        ["isic_archive_hierarchy"],
        [
            [
                f"{ARCHIVE},anatom_site_1,anatom_site_2,anatom_site_3,diagnosis_1,diagnosis_2,diagnosis_3",
                "a,x,CC-0,85,dermoscopic,IL_1,male,Upper extremity,Hand,Palm of hand,Benign,,",
                "b,x,CC-0,85,dermoscopic,IL_2,male,Upper extremity,Hand,,Malignant,Merkel cell proliferation,"
                "Merkel cell carcinoma",
            ]
        ],
        [
            "a||IL_1|male|85|palms/soles|unknown|0|dermoscopic",
            "b||IL_2|male|85|upper extremity|unknown|1|dermoscopic",
        ],
    ),
    "archive before the hierarchy": (
        ["isic_archive_benign_malignant"],
        [
            [
                f"{ARCHIVE},anatom_site_general,benign_malignant,diagnosis",
                "a,x,CC-0,60,dermoscopic,,male,head/neck,malignant,melanoma metastasis",
                "b,x,CC-0,60,dermoscopic,,male,oral/genital,benign,",
                "c,x,CC-0,60,dermoscopic,,male,,benign,other",
            ]
        ],
        [
            "a|||male|60|head/neck|melanoma|1|dermoscopic",
            "b|||male|60|oral/genital|unknown|0|dermoscopic",
            "c|||male|60||unknown|0|dermoscopic",
        ],
    ),
    "archive of the first interface": (
        ["isic_archive_v1"],
        [
            [
                "_id,name,meta.clinical.age_approx,meta.clinical.benign_malignant,meta.clinical.diagnosis,meta.clinical.sex",
                "5,a,45,benign,nevus,female",
            ]
        ],
        ["a|||female|45||nevus|0|"],
    ),
    "archive without labels": (
        ["isic_archive"],
        [[f"{ARCHIVE},anatom_site_1", "a,x,CC-0,60,TBP tile: overview,,male,Trunk"]],
        ["a|||male|60|torso|||TBP tile: overview"],
    ),
    "ph2": (
        ["ph2"],
        [
            [
                "PH2 Dataset,,,,",
                "Legends: 0/1/2,,,,",
                ",,,,",
                'Image Name,"Histological\nDiagnosis",Common Nevus,Atypical Nevus,Melanoma',
                "IMD003,,X,,",
                "IMD058,,,,X",
            ]
        ],
        ["IMD003||||||nevus|0|dermoscopic", "IMD058||||||melanoma|1|dermoscopic"],
    ),
    "ph2 in numbers": (
        ["ph2_codes"],
        [["Name,Histological Diagnosis,Clinical Diagnosis,Asymmetry", "IMD003,,0,0", "IMD058,,2,2"]],
        ["IMD003||||||nevus|0|dermoscopic", "IMD058||||||melanoma|1|dermoscopic"],
    ),
    "ph2 as text": (
        ["ph2_codes"],
        [
            [
                "||   Name || Histological Diagnosis || Clinical Diagnosis || Asymmetry | Streaks ||     Colors ||",
                "|| IMD003 ||                        ||                  0 ||         0 |       A ||          4 ||",
                "|| IMD058 ||               Melanoma ||                  2 ||         2 |       P ||    3  4  5 ||",
                "|| IMD063 ||                        ||                  1 ||         1 |       A ||       3  4 ||",
                "",
                "Legends for clinical diagnosis:",
                "1 - Atypical Nevus",
            ]
        ],
        [
            "IMD003||||||nevus|0|dermoscopic",
            "IMD058||||||melanoma|1|dermoscopic",
            "IMD063||||||nevus|0|dermoscopic",
        ],
    ),
    "derm7pt": (
        ["derm7pt"],
        [
            [
                "case_num,diagnosis,seven_point_score,location,sex,clinic,derm,case_id",
                "1,basal cell carcinoma,0,head neck,female,NEL/NEL025.JPG,NEL/Nel026.jpg,",
                "2,reed or spitz nevus,3,buttocks,male,NEL/NEL027.JPG,NEL/Nel028.jpg,",
            ]
        ],
        [
            "Nel026||derm7pt_1|female||head/neck|basal cell carcinoma|1|dermoscopic",
            "Nel028||derm7pt_2|male||lower extremity|nevus|0|dermoscopic",
        ],
    ),
    "pad": (
        ["pad_ufes_20"],
        [
            [
                "patient_id,lesion_id,age,gender,region,diagnostic,img_id,biopsed",
                "PAT_1,7,8,,ARM,SEK,PAT_1_7_530.png,False",
                "PAT_2,7,55,FEMALE,NECK,MEL,PAT_2_7_939.png,True",
            ]
        ],
        [
            "PAT_1_7_530|PAT_1|PAT_1_7||8|upper extremity|seborrheic keratosis|0|clinical: close-up",
            "PAT_2_7_939|PAT_2|PAT_2_7|female|55|head/neck|melanoma|1|clinical: close-up",
        ],
    ),
}
